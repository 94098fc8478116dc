"""Whatever a call is made through, it leaves one line in the journal, and the journal's sum is the provider's bill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState
from langgraph.prebuilt import ToolNode

from budgeted_agents import (
    Budget,
    BudgetedGraph,
    BudgetMiddleware,
    CostCallback,
    budgeted_embeddings,
    budgeted_model,
)
from budgeted_agents.testing import LocalProvider
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.records.journal import read_journal
from tests.attach.support import embeddings_of, openai, serving

THREAD: Any = {"configurable": {"thread_id": "t1"}}
QUESTION = [HumanMessage("Which trees grow here?")]


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def calls_in(journal: Path) -> list[CallRecord]:
    return [line.recorded for line in read_journal(journal, []) if isinstance(line.recorded, CallRecord)]


def assert_written(journal: Path, provider: LocalProvider) -> None:
    found = [call for call in calls_in(journal) if call.kind == "model"]
    assert len(found) == len(provider.requests) > 0
    assert sum(call.cost for call in found) == provider.bill_nanos
    for call in found:
        assert (call.outcome, call.actual["usd"], call.provider) == ("settled", call.cost, "openai")


def graph_of(model: Any, **settings: Any) -> Any:
    graph: Any = BudgetedGraph(MessagesState, budget=Budget(usd="1.00"), **settings)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(QUESTION)]})
    graph.add_edge(START, "ask")
    return graph.compile()


@pytest.mark.parametrize("governed", [False, True])
def test_a_graph(provider: LocalProvider, journal: Path, governed: bool) -> None:
    model = budgeted_model(openai(provider)) if governed else openai(provider)
    app = graph_of(model, journal=journal)
    app.invoke({"messages": []}, THREAD)
    for _ in app.stream({"messages": []}, THREAD, stream_mode="messages"):
        pass
    assert_written(journal, provider)
    assert {call.model_billed for call in calls_in(journal)} == {"gpt-4o"}


async def test_a_graph_that_is_awaited_on_a_ledger_in_a_file(provider: LocalProvider, tmp_path: Path) -> None:
    app = graph_of(budgeted_model(openai(provider)), ledger=f"sqlite:///{tmp_path}/spend.db")
    await app.ainvoke({"messages": []}, THREAD)
    assert_written(tmp_path / "spend.db.journal", provider)


def test_a_callback(provider: LocalProvider, journal: Path) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"), journal=journal)
    openai(provider).invoke(QUESTION, {"callbacks": [callback]})
    list(openai(provider).stream(QUESTION, {"callbacks": [callback]}))
    assert_written(journal, provider)


def test_an_agent_with_the_middleware(provider: LocalProvider, journal: Path) -> None:
    middleware: Any = BudgetMiddleware(budget=Budget(usd="1.00"), journal=journal)
    agent: Any = create_agent(openai(provider), [], middleware=[middleware])
    agent.invoke({"messages": QUESTION}, THREAD)
    assert_written(journal, provider)


def test_a_graph_and_a_callback_on_one_ledger_write_a_call_down_once(provider: LocalProvider, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    app = graph_of(openai(provider), ledger=url)
    callback = CostCallback(budget=Budget(name="mine", usd="0.50"), ledger=url)
    app.invoke({"messages": []}, {**THREAD, "callbacks": [callback]})
    assert_written(tmp_path / "spend.db.journal", provider)


def test_a_journal_that_the_url_names(provider: LocalProvider, journal: Path, tmp_path: Path) -> None:
    """A URL that says more is a URL of the same ledger all the same: what both see is charged once."""
    url = f"sqlite:///{tmp_path}/spend.db"
    app = graph_of(openai(provider), ledger=f"{url}?journal={journal}")
    callback = CostCallback(budget=Budget(name="mine", usd="0.50"), ledger=url, journal=False)
    app.invoke({"messages": []}, {**THREAD, "callbacks": [callback]})
    assert_written(journal, provider)
    assert callback.spend_of("t1").cost_nanos == provider.bill_nanos
    assert not (tmp_path / "spend.db.journal").exists()


def test_a_url_that_wants_no_journal(provider: LocalProvider, tmp_path: Path) -> None:
    app = graph_of(openai(provider), ledger=f"sqlite:///{tmp_path}/spend.db?journal=off")
    app.invoke({"messages": []}, THREAD)
    assert not (tmp_path / "spend.db.journal").exists()


def test_embeddings_are_named_so(provider: LocalProvider, journal: Path) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"), journal=journal)
    budgeted_embeddings(embeddings_of(provider), callback).embed_query("trees")
    (call,) = calls_in(journal)
    assert (call.operation, call.model_used) == ("embeddings", "text-embedding-3-small")


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return "a plant"


@pytest.mark.parametrize("counted", [False, True])
def test_tools_are_written_down_once_whether_they_are_counted_or_not(tmp_path: Path, counted: bool) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    budget = Budget(usd="1", tool_calls=5 if counted else None)
    graph: Any = BudgetedGraph(MessagesState, budget=budget, ledger=url)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    call = {"name": "look_up", "args": {"word": "tree"}, "id": "call_1", "type": "tool_call"}
    callback = CostCallback(budget=budget, ledger=url)
    graph.compile().invoke({"messages": [AIMessage("", tool_calls=[call])]}, {**THREAD, "callbacks": [callback]})
    look_up.invoke({"word": "oak"}, {"callbacks": [callback]})
    found = calls_in(tmp_path / "spend.db.journal")
    assert [(call.tool, call.booked) for call in found] == [("look_up", counted)] * 2
