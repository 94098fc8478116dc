"""The research graph under plain StateGraph, driven over real HTTP by the local provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from pydantic import SecretStr

from budgeted_agents.testing import LocalProvider, Reply, ToolCall, research_replies
from graphs.research import build_research_graph

QUESTION = "How many days does a customer have to return goods for a refund?"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    texts = {
        "refunds.md": "# Refunds\n\nA customer has 30 days to return goods for a full refund.\n\nNo cash.",
        "shipping.md": "# Shipping\n\nParcels leave at noon. Goods above 20 kg travel by freight.",
        "staff.md": "# Staff\n\nEvery employee has 28 days of vacation.",
        "returns/desk.md": "# Returns desk\n\nThe returns desk is open from 9 to 5, on the ground floor.",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def model_of(provider: LocalProvider) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=provider.base_url, api_key=SecretStr("sk-local"), max_retries=0)


def app_of(provider: LocalProvider, docs: Path, **settings: Any) -> Any:
    checkpointer = settings.pop("checkpointer", None)
    return build_research_graph(model_of(provider), docs, **settings).compile(checkpointer=checkpointer)


def tool_results(state: dict[str, Any]) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def test_it_finds_the_file_and_cites_it(docs: Path) -> None:
    with LocalProvider(research_replies()) as provider:
        state = app_of(provider, docs).invoke({"question": QUESTION})
        assert "30 days to return goods for a full refund. [refunds.md]" in state["answer"]
        assert state["sources"][0] == "refunds.md"
        assert len(state["plan"]) == 3
        assert state["messages"][-1].text == state["answer"]
        assert {record.status for record in provider.requests} == {200}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_model_of_another_provider_does_as_well(docs: Path, streaming: bool) -> None:
    with LocalProvider(research_replies()) as provider:
        model = ChatAnthropic(
            model_name="claude-haiku-4-5",
            base_url=provider.url,
            api_key=SecretStr("sk-local"),
            max_retries=0,
            streaming=streaming,
            timeout=None,
            stop=None,
        )
        state = build_research_graph(model, docs).compile().invoke({"question": QUESTION})
        assert {(record.status, record.request.stream) for record in provider.requests} == {(200, streaming)}
    assert "[refunds.md]" in state["answer"]


def test_the_context_and_so_the_cost_of_each_round_grows(docs: Path) -> None:
    with LocalProvider(research_replies(reads=3)) as provider:
        app_of(provider, docs).invoke({"question": QUESTION})
        research = [record for record in provider.requests if record.request.tools]
    assert len(research) == 5  # searches, three reads, and enough
    costs = [record.usage.input_tokens for record in research]
    assert costs == sorted(set(costs))


async def test_async_does_the_same(docs: Path) -> None:
    with LocalProvider(research_replies()) as provider:
        sync = app_of(provider, docs).invoke({"question": QUESTION})
        spent = provider.bill_nanos
        again = await app_of(provider, docs).ainvoke({"question": QUESTION})
        assert again["answer"] == sync["answer"]
        assert provider.bill_nanos == 2 * spent


def test_tokens_are_streamed(docs: Path) -> None:
    with LocalProvider(research_replies()) as provider:
        parts = app_of(provider, docs).stream({"question": QUESTION}, stream_mode="messages")
        answer = "".join(part.text for part, about in parts if about["langgraph_node"] == "answer" and part.text)
        assert all(record.request.stream for record in provider.requests)
    assert "[refunds.md]" in answer


def test_a_figure_is_calculated(docs: Path) -> None:
    with LocalProvider(research_replies()) as provider:
        state = app_of(provider, docs).invoke({"question": "How much refund is 1200 * 0.19 for goods?"})
    assert "228.00" in [result.text for result in tool_results(state)]


def test_a_user_message_is_a_question_too_and_a_thread_can_go_on(docs: Path) -> None:
    with LocalProvider(research_replies()) as provider:
        app = app_of(provider, docs, checkpointer=InMemorySaver())
        thread = {"configurable": {"thread_id": "t1"}}
        first = app.invoke({"messages": [HumanMessage(QUESTION)]}, thread)
        second = app.invoke({"messages": [HumanMessage("When do parcels leave?")]}, thread)
        assert {record.status for record in provider.requests} == {200}
    assert len([message for message in first["messages"] if isinstance(message, HumanMessage)]) == 1
    assert "[refunds.md]" in first["answer"]
    assert "Parcels leave at noon. [shipping.md]" in second["answer"]
    assert second["sources"][0] == "shipping.md"


def test_a_model_that_calls_no_tools_still_gives_an_answer(docs: Path) -> None:
    with LocalProvider([Reply(""), Reply("I know this."), Reply("Thirty days.")]) as provider:
        state = app_of(provider, docs).invoke({"question": QUESTION})
        assert "I know this." in provider.requests[-1].request.user_texts[0]
    assert (state["answer"], state["sources"], state["plan"]) == ("Thirty days.", [], [QUESTION])


def test_an_answer_without_citation_gets_its_sources(docs: Path) -> None:
    call = ToolCall("read_document", {"file": "refunds.md"})
    with LocalProvider([Reply("refund"), Reply(tool_calls=[call]), Reply("Enough."), Reply("30 days.")]) as provider:
        state = app_of(provider, docs).invoke({"question": QUESTION})
    assert state["answer"] == "30 days.\n\nSources: [refunds.md]"


def test_a_model_that_never_stops_calling_tools_is_stopped(docs: Path) -> None:
    call = ToolCall("search_documents", {"query": "refund"})

    with LocalProvider([Reply("refund"), *[Reply(tool_calls=[call])] * 3, Reply("Done.")]) as provider:
        state = app_of(provider, docs, max_rounds=3).invoke({"question": QUESTION})
        assert len(provider.requests) == 5
    asked = [
        call["id"] for message in state["messages"] if isinstance(message, AIMessage) for call in message.tool_calls
    ]
    assert asked == [result.tool_call_id for result in tool_results(state)]


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("read_document", {"file": "../../etc/passwd"}),
        ToolCall("read_document", {"file": "refunds.md", "start_line": 999}),
        ToolCall("read_document", {"page": 3}),
        ToolCall("calculator", {"expression": "__import__('os')"}),
        ToolCall("delete_everything", {}),
    ],
)
def test_a_bad_tool_call_is_told_to_the_model_and_the_run_goes_on(docs: Path, call: ToolCall) -> None:
    with LocalProvider([Reply("x"), Reply(tool_calls=[call]), Reply("Enough."), Reply("Sorry.")]) as provider:
        state = app_of(provider, docs).invoke({"question": QUESTION})
    assert [result.status for result in tool_results(state)] == ["error"]
    assert state["answer"] == "Sorry."


def test_another_class_can_stand_in_for_state_graph(docs: Path) -> None:
    class Counted(StateGraph[Any, Any, Any, Any]):
        pass

    with LocalProvider() as provider:
        assert isinstance(build_research_graph(model_of(provider), docs, graph_class=Counted), Counted)
