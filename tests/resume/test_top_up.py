"""Topping up: the refused node goes on, the money is credited once, and the report says who granted it and why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, budgeted, budgeted_model, open_ledger
from budgeted_agents.errors import (
    BudgetedAgentsError,
    IdempotencyConflict,
    InvalidAmount,
    InvalidAttribution,
    InvalidBudget,
    InvalidReservation,
)
from budgeted_agents.testing import LocalProvider, fixed
from tests.langgraph.support import State, openai_model, serving, slim, thread
from tests.resume.suspended import CONFIG, START_STATE, STEPS, build


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed(" word" * 30, output_tokens=30)) as running:
        yield running


def test_a_suspended_run_goes_on_at_the_refused_node(provider: LocalProvider) -> None:
    app = build(provider.base_url, None, checkpointer=InMemorySaver())
    assert len(app.invoke(START_STATE, CONFIG)["answers"]) == 2
    assert app.get_state(CONFIG).next == ("work",)
    (balance,) = app.top_up(CONFIG, model_calls=1, by="ops", reason="one more")
    assert (balance.limit, balance.spent, balance.credit) == (3, 2, 1)
    assert len(app.invoke(None, CONFIG)["answers"]) == 3
    app.top_up(CONFIG, model_calls=5, usd="0.10", by="ops")
    assert len(asyncio.run(app.ainvoke(None, CONFIG))["answers"]) == STEPS == len(provider.requests)
    report = app.spend(CONFIG)
    assert report.cost_nanos == provider.bill_nanos
    added = [(top_up.account.unit, top_up.amount, top_up.by, top_up.reason) for top_up in report.top_ups]
    assert added == [
        ("model_calls", 1, "ops", "one more"),
        ("usd", 100_000_000, "ops", ""),
        ("model_calls", 5, "ops", ""),
    ]
    assert "topped up: $0.1000 for budget 'session' by ops" in str(report)


def test_a_create_agent_goes_on_after_a_top_up(provider: LocalProvider) -> None:
    budget = Budget(usd="0.05", model_calls=1, min_output_tokens=20, on_exhausted="suspend")
    model = budgeted_model(openai_model(provider, max_tokens=40))
    app: Any = budgeted(create_agent(model, [], checkpointer=InMemorySaver()), budget=budget)
    app.invoke({"messages": [HumanMessage("First.")]}, thread())
    stopped = app.invoke({"messages": [HumanMessage("Second.")]}, thread())
    assert isinstance(stopped["messages"][-1], HumanMessage)
    app.top_up(thread(), model_calls=1, by="ops")
    assert isinstance(app.invoke(None, thread())["messages"][-1], AIMessage)
    assert len(provider.requests) == 2


def agent_inside(provider: LocalProvider, kind: str, ledger: Any, **named: Any) -> tuple[Any, Any]:
    """Who keeps the budget of one call of an agent, and a governed graph that runs the agent as a node."""
    model, budget = openai_model(provider, max_tokens=40), Budget(model_calls=1, on_exhausted="suspend", **named)
    if kind == "middleware":
        keeper: Any = BudgetMiddleware(budget=budget, ledger=ledger)
        node: Any = create_agent(model, [], middleware=[keeper])
    else:
        inner: Any = BudgetedGraph(State, budget=budget, ledger=ledger)
        inner.add_node("ask", lambda state: {"messages": [slim(model.invoke("Who?"))]})
        inner.add_edge(START, "ask")
        keeper = node = inner.compile()
    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=9, on_exhausted="suspend"), ledger=ledger)
    graph.add_node("agent", node)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "agent")
    return keeper, graph.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("kind", ["middleware", "graph"])
@pytest.mark.parametrize("shares_a_ledger", [True, False])
@pytest.mark.parametrize("has_a_name", [True, False])
@pytest.mark.parametrize("by_the_outer", [True, False])
def test_a_budget_of_an_agent_inside_a_graph_is_topped_up_where_it_is_kept(
    kind: str, shares_a_ledger: bool, has_a_name: bool, by_the_outer: bool, provider: LocalProvider
) -> None:
    """Not the budget of the graph, which has the same name if neither was given one."""
    ledger = open_ledger("memory://") if shares_a_ledger else None
    keeper, app = agent_inside(provider, kind, ledger, **({"name": "own"} if has_a_name else {}))
    app.invoke({"messages": [("user", "Go.")]}, thread())
    assert (app.get_state(thread()).next, len(provider.requests)) == (("agent",), 1)
    name = "own" if has_a_name else "session@agent"
    asked, named = (app, {"budget": name}) if by_the_outer else (keeper, {})
    (credited,) = asked.top_up(thread(), model_calls=1, by="ops", **named)
    assert (credited.account.budget, credited.limit) == (name, 2)
    app.invoke(None, thread())
    assert (app.get_state(thread()).next, len(provider.requests)) == (("agent",), 2)
    limits = {balance.account.budget: balance.limit for balance in app.spend(thread()).balances}
    assert limits == {"session": 9, name: 2}
    assert keeper.spend(thread()).cost_nanos == app.spend(thread()).cost_nanos == provider.bill_nanos


def test_it_counts_once_under_one_id(provider: LocalProvider) -> None:
    app = build(provider.base_url, None)
    for _ in range(3):
        (balance,) = app.top_up(CONFIG, model_calls=1, by="ops", id="ticket-1")
        assert balance.limit == 3
    assert len(app.spend(CONFIG).top_ups) == 1
    with pytest.raises(IdempotencyConflict):
        app.top_up(CONFIG, model_calls=2, by="ops", id="ticket-1")


def test_the_budget_of_a_tenant_can_be_topped_up_by_name(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))
    budgets = [
        Budget(name="tenant", per=("tenant",), window="month", tool_calls={"search": 3}, usd="0.01"),
        Budget(usd="0.05"),
    ]
    graph: Any = BudgetedGraph(State, budget=budgets)
    graph.add_node("work", lambda state: {"messages": [slim(model.invoke("Go on."))]})
    graph.add_edge(START, "work")
    app = graph.compile()
    acme = thread("t1", tenant="acme")
    app.invoke({"messages": []}, acme)
    app.top_up(acme, usd=1, tool_calls={"search": 2}, budget="tenant", by="ops")
    credits = {b.account.unit: (b.limit, b.credit) for b in app.spend(acme).balances if b.account.budget == "tenant"}
    assert credits == {"usd": (1_010_000_000, 10**9), "tool_calls:search": (5, 2)}
    app.invoke({"messages": []}, thread("t2", tenant="globex"))
    assert {b.credit for b in app.spend(thread("t2")).balances} == {0}


WRONG: list[tuple[dict[str, Any], type[BudgetedAgentsError]]] = [
    ({}, InvalidAmount),
    ({"usd": "0"}, InvalidAmount),
    ({"usd": "-1"}, InvalidAmount),
    ({"usd": "NaN"}, InvalidAmount),
    ({"model_calls": 1.5}, InvalidAmount),
    ({"model_calls": -1}, InvalidAmount),
    ({"tokens": 5}, InvalidBudget),  # the budget has no limit of tokens, so adding some would do nothing
    ({"tool_calls": {"search": 1}}, InvalidBudget),
    ({"usd": 1, "budget": "tenant"}, InvalidBudget),
    ({"usd": 1, "by": " "}, InvalidReservation),
    ({"usd": 1, "id": ""}, InvalidReservation),
    ({"usd": 1, "config": {}}, InvalidAttribution),
]


@pytest.mark.parametrize(("arguments", "error"), WRONG)
def test_what_is_wrong_is_said_before_anything_changes(
    arguments: dict[str, Any], error: type[BudgetedAgentsError], provider: LocalProvider
) -> None:
    app = build(provider.base_url, None)
    with pytest.raises(error):
        app.top_up(**{"config": CONFIG, "by": "ops", **arguments})
    assert app.settings.meter.ledger.accounts() == []
    assert app.spend(CONFIG).top_ups == ()


def test_a_budget_per_run_cannot_be_topped_up(provider: LocalProvider) -> None:
    graph: Any = BudgetedGraph(State, budget=Budget(per=("run",), usd="0.05"))
    graph.add_node("work", lambda state: {})
    graph.add_edge(START, "work")
    graph.add_edge("work", END)
    with pytest.raises(InvalidBudget, match="only a call in progress has"):
        graph.compile().top_up(thread(), usd=1, by="ops")
