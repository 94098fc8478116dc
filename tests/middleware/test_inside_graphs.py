"""An agent with the middleware inside a governed graph: where the budget of the graph is spent, the graph lands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, budgeted, open_ledger
from budgeted_agents.testing import Reply, Request, ToolCall
from tests.middleware.support import (
    ASK,
    LANDED,
    assert_complete,
    assert_within,
    look_up,
    looks_up_forever,
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
    with serving(looks_up_forever) as provider:
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
    with serving(looks_up_forever) as provider:
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


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("levels", [1, 2])
def test_a_tool_of_the_agent_is_answered_also_where_a_budget_further_out_is_spent(levels: int, is_async: bool) -> None:
    """Handlers of all the runs see the call, the outermost first; but it is in the agent's tool that it was refused."""

    def reply(request: Request) -> Reply:
        if request.tools and not request.tool_results:
            calls = [ToolCall("consult", {"question": "Why?"}, id=f"call_{number}") for number in range(2)]
            return Reply("Let me ask.", calls)
        return Reply(LANDED if request.messages[-1].text.startswith("The budget") else f"answer {request.number}")

    with serving(reply) as provider:
        model, ledger = openai_model(provider, max_tokens=100), open_ledger("memory://")

        @tool
        def consult(question: str) -> str:
            """Asks a model."""
            return str(model.invoke(question).text)

        @tool("consult")
        async def aconsult(question: str) -> str:
            """Asks a model."""
            return str((await model.ainvoke(question)).text)

        guard = BudgetMiddleware(budget=Budget(name="agent", model_calls=9), ledger=ledger)
        inner: Any = create_agent(model, [aconsult if is_async else consult], middleware=[guard])
        for level in range(levels):
            limit = 3 if level == 0 else 9
            graph: Any = BudgetedGraph(MessagesState, budget=Budget(name=f"{level}", model_calls=limit), ledger=ledger)
            graph.add_node("inside", inner)
            graph.add_edge(START, "inside")
            inner = graph.compile()
        state = asyncio.run(inner.ainvoke(ASK, thread())) if is_async else inner.invoke(ASK, thread())
        results = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert sorted(result.status for result in results) == ["error", "success"]
        assert state["messages"][-1].text == LANDED
        assert len(provider.requests) == 3
        assert_complete(state["messages"])
        assert_within(inner.spend(thread()), provider)
