"""An agent with the middleware inside a governed graph: where the budget of the graph is spent, the graph lands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, budgeted, open_ledger
from tests.middleware.support import (
    ASK,
    LANDED,
    assert_complete,
    assert_within,
    look_up,
    looks_up_for_ever,
    openai_model,
    serving,
    thread,
)


def agent_of(provider: Any, ledger: Any, calls: int, **settings: Any) -> Any:
    guard = BudgetMiddleware(budget=Budget(name="agent", model_calls=calls), ledger=ledger)
    return create_agent(openai_model(provider, max_tokens=40), [look_up], middleware=[guard], **settings)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("place", ["a node", "a function", "around it"])
def test_the_graph_around_an_agent_lands_when_its_budget_is_spent(place: str, is_async: bool) -> None:
    """It has kept money for an answer, which the agent must not touch; and nothing leads on behind the agent."""
    with serving(looks_up_for_ever) as provider:
        ledger, visited = open_ledger("memory://"), []
        agent = agent_of(provider, ledger, 9, checkpointer=InMemorySaver() if place == "around it" else None)

        async def acall(state: Any) -> Any:
            return {"messages": (await agent.ainvoke({"messages": state["messages"]}))["messages"]}

        def call(state: Any) -> Any:
            return {"messages": agent.invoke({"messages": state["messages"]})["messages"]}

        graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=4), ledger=ledger)
        graph.add_node("agent", agent if place == "a node" else acall if is_async else call)
        graph.add_node("behind", lambda state: visited.append("behind"))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "behind")
        app = graph.compile(checkpointer=InMemorySaver())
        if place == "around it":
            app = budgeted(agent, budget=Budget(model_calls=4), ledger=ledger)
        state = asyncio.run(app.ainvoke(ASK, thread())) if is_async else app.invoke(ASK, thread())
        report = app.spend(thread())
        assert report.landing == "Landed by the default finalizer"
        assert state["messages"][-1].text == LANDED
        assert len(provider.requests) == 4
        assert len(report.refusals) == 1
        assert visited == []
        assert_complete(state["messages"])
        assert_within(report, provider)


def test_an_agent_lands_by_itself_when_its_own_budget_is_spent() -> None:
    with serving(looks_up_for_ever) as provider:
        ledger, visited = open_ledger("memory://"), []
        graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=9), ledger=ledger)
        graph.add_node("agent", agent_of(provider, ledger, 3))
        graph.add_node("behind", lambda state: visited.append("behind"))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "behind")
        state = graph.compile().invoke(ASK, thread())
        assert state["messages"][-1].text == LANDED
        assert len(provider.requests) == 3
        assert visited == ["behind"]
