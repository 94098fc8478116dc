"""Models that think before they answer: what the money buys has to be more than their thinking, or it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START
from openai import LengthFinishReasonError
from pydantic import BaseModel

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, CostCallback, budgeted, budgeted_model
from budgeted_agents.integrations.langchain.calls.answers import is_useless
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall, fixed
from tests.langchain.support import gemini_model
from tests.langgraph.support import State, openai_model, serving, thread

PRICES = {name: (Decimal("1.25"), Decimal("0.125"), Decimal("10")) for name in ("gpt-5", "gpt-5.1", "o3")}
PRICES["gemini-3-flash-preview"] = (Decimal("0.50"), Decimal("0.05"), Decimal("3"))
THOUGHT = 2_000
QUESTION = {"messages": "What is a tree?"}
FINAL = "A tree is a tall plant, as far as I got."


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} is a word. " * 10


def thoughtful(request: Request) -> Reply:
    """It thinks for long and looks a word up, forever; without tools it answers, after some thought."""
    if request.tools:
        return Reply("", [ToolCall("look_up", {"word": "tree"})], reasoning_tokens=THOUGHT)
    return Reply(FINAL, reasoning_tokens=0 if effort_of(request) in ("none", "minimal") else THOUGHT)


def effort_of(request: Request) -> str | None:
    body = request.body
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    effort: str | None = body.get("reasoning_effort") or body.get("reasoning", {}).get("effort")
    return effort or thinking.get("thinking_level", "").lower() or None


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(thoughtful, prices=PRICES) as running:
        yield running


def invoked(app: Any) -> Any:
    return app.invoke(QUESTION, thread())["messages"]


def streamed(app: Any) -> Any:
    *_, last = app.stream(QUESTION, thread(), stream_mode=["messages", "values"])
    return last[1]["messages"]


def ainvoked(app: Any) -> Any:
    return asyncio.run(app.ainvoke(QUESTION, thread()))["messages"]


WAYS = [invoked, streamed, ainvoked]


def assert_within(app: Any, provider: LocalProvider, usd: str) -> None:
    assert app.spend(thread()).cost_usd == provider.bill_usd <= Decimal(usd)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("usd", ["0.05", "0.07", "0.10", "0.15"])
def test_an_agent_that_thinks_lands_with_an_answer_and_never_ends_with_nothing(
    provider: LocalProvider, usd: str, way: Callable[[Any], Any]
) -> None:
    app = budgeted(create_agent(budgeted_model(openai_model(provider, "gpt-5")), [look_up]), budget=Budget(usd=usd))
    messages = way(app)
    assert messages[-1].text == FINAL
    assert all(each.text or each.tool_calls for each in messages if isinstance(each, AIMessage))
    assert_within(app, provider, usd)


@pytest.mark.parametrize("way", WAYS)
def test_where_nobody_knows_yet_how_much_it_thinks_an_answer_of_nothing_lands_the_run(
    provider: LocalProvider, way: Callable[[Any], Any]
) -> None:
    """The very first call is cut off within its thinking. It is charged, and said to be a refusal."""
    agent = create_agent(budgeted_model(openai_model(provider, "gpt-5")), [look_up])
    app: Any = budgeted(agent, budget=Budget(usd="0.017"))
    messages = way(app)
    spend = app.spend(thread())
    assert messages[-1].text.startswith("I had to stop here because the budget for this task is spent.")
    assert "which cut its answer off before it said anything" in str(spend)
    assert_within(app, provider, "0.017")


@pytest.mark.parametrize(
    ("model", "settings", "effort"),
    [
        ("gpt-5", {}, "minimal"),
        ("gpt-5.1", {"reasoning_effort": "high"}, "none"),
        ("gpt-5", {"use_responses_api": True, "reasoning": {"effort": "high", "summary": None}}, "minimal"),
        ("o3", {}, None),  # the list knows no effort at which it hardly thinks
    ],
)
def test_a_landing_thinks_as_little_as_its_model_can(
    provider: LocalProvider, model: str, settings: dict[str, Any], effort: str | None
) -> None:
    chat = budgeted_model(openai_model(provider, model, **settings))
    invoked(budgeted(create_agent(chat, [look_up]), budget=Budget(usd="0.10")))
    *_, last = provider.requests
    assert effort_of(last.request) == (effort or settings.get("reasoning_effort"))


def test_a_litellm_name_is_told_as_well(provider: LocalProvider) -> None:
    chat = budgeted_model("openai/gpt-5", api_base=provider.base_url, api_key="sk-local")
    messages = invoked(budgeted(create_agent(chat, [look_up]), budget=Budget(usd="0.10")))
    *_, last = provider.requests
    assert (messages[-1].text, effort_of(last.request)) == (FINAL, "minimal")


def test_a_profile_of_langchains_tells_too(provider: LocalProvider) -> None:
    """LiteLLM's list does not say what Gemini takes."""
    chat = budgeted_model(gemini_model(provider, model="gemini-3-flash-preview", max_output_tokens=8_000))
    messages = invoked(budgeted(create_agent(chat, [look_up]), budget=Budget(usd="0.10")))
    *_, last = provider.requests
    assert messages[-1].text == FINAL
    assert effort_of(last.request) == "minimal"


class Word(BaseModel):
    """A word."""

    meaning: str


def test_an_answer_in_a_format_that_the_money_cuts_off_lands_the_run() -> None:
    """Half of a JSON text would end the run with an error of its parser."""
    with serving(fixed('{"meaning": "' + "a tall plant, " * 200 + '"}')) as provider:
        model: Any = budgeted_model(openai_model(provider)).with_structured_output(Word, method="json_schema")
        graph: Any = BudgetedGraph(State, budget=Budget(usd="0.006"))
        graph.add_node("define", lambda state: {"messages": [model.invoke("What is a tree?").meaning]})
        graph.add_edge(START, "define")
        app = graph.compile()
        app.invoke({"messages": [], "visits": 0}, thread())
        assert "Landed" in app.spend(thread()).landing
        assert_within(app, provider, "0.006")


def test_the_middleware_lands_such_an_agent_as_well(provider: LocalProvider) -> None:
    middleware = BudgetMiddleware(budget=Budget(usd="0.10"))
    agent: Any = create_agent(openai_model(provider, "gpt-5"), [look_up], middleware=[middleware])
    messages = agent.invoke(QUESTION, thread())["messages"]
    assert messages[-1].text == FINAL
    assert middleware.spend(thread()).cost_usd == provider.bill_usd <= Decimal("0.10")


def test_a_run_that_is_suspended_for_an_answer_of_nothing_goes_on_after_a_top_up(provider: LocalProvider) -> None:
    budget = Budget(usd="0.017", on_exhausted="suspend")
    model = budgeted_model(openai_model(provider, "gpt-5"))
    app: Any = budgeted(create_agent(model, [look_up], checkpointer=InMemorySaver()), budget=budget)
    invoked(app)
    app.top_up(thread(), usd="0.05", by="ann", reason="to go on")
    messages = app.invoke(None, thread())["messages"]
    assert any(isinstance(each, AIMessage) and each.tool_calls for each in messages)
    assert all(each.text or each.tool_calls for each in messages if isinstance(each, AIMessage))
    assert_within(app, provider, "0.067")


def test_a_call_that_a_client_fails_because_its_answer_was_cut_off_is_charged_what_it_used() -> None:
    with serving(fixed('{"meaning": "' + "a tall plant, " * 200 + '"}')) as provider:
        callback = CostCallback(budget=Budget(usd=1), session="s1")
        model = openai_model(provider, max_tokens=100).with_structured_output(Word, method="json_schema")
        with pytest.raises(LengthFinishReasonError):
            model.invoke("What is a tree?", {"callbacks": [callback]})
        assert callback.spend.cost_usd == provider.bill_usd
        assert callback.spend.presumed_usd == 0


def chunk(text: str, **said: Any) -> AIMessageChunk:
    return AIMessageChunk(content=text, **said)


@pytest.mark.parametrize(
    ("messages", "formatted", "spent", "useless"),
    [
        ([AIMessage("", response_metadata={"finish_reason": "length"})], False, True, True),
        ([AIMessage("Half an ans", response_metadata={"finish_reason": "length"})], False, True, False),
        ([AIMessage('{"half": ', response_metadata={"finish_reason": "length"})], True, True, True),
        ([AIMessage("", response_metadata={"stop_reason": "max_tokens"})], False, False, True),
        ([AIMessage("", response_metadata={"finish_reason": "MAX_TOKENS"})], False, False, True),
        ([AIMessage("", response_metadata={"finish_reason": "stop"})], False, True, False),
        ([AIMessage("", response_metadata={"status": "incomplete"})], False, True, True),
        ([AIMessage("", response_metadata={})], False, False, False),
        (
            [AIMessage("Let me see.", invalid_tool_calls=[{"name": "f", "args": '{"a', "id": "1", "error": None}])],
            False,
            True,
            True,
        ),
        (
            [
                AIMessage(
                    "",
                    tool_calls=[{"name": "f", "args": {}, "id": "1"}],
                    response_metadata={"finish_reason": "tool_calls"},
                )
            ],
            False,
            True,
            False,
        ),
        (
            [
                chunk("", tool_call_chunks=[{"name": "f", "args": '{"a', "id": "1", "index": 0}]),
                chunk("", response_metadata={"finish_reason": "length"}),
            ],
            False,
            True,
            True,
        ),
        (
            [chunk("Half "), chunk("", response_metadata={"finish_reason": "length"})],
            False,
            True,
            False,
        ),
    ],
)
def test_which_answers_are_of_no_use(messages: list[BaseMessage], formatted: bool, spent: bool, useless: bool) -> None:
    assert is_useless(messages, formatted=formatted, spent=spent) is useless
