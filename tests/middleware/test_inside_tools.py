"""Whatever a tool calls spends from the agent's budget; a refusal there is the tool's answer, and the agent goes on.

No hook wraps the tools: LangChain builds the agent as it does without the middleware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from budgeted_agents import (
    Budget,
    BudgetedGraph,
    BudgetExceeded,
    BudgetMiddleware,
    CostCallback,
    budgeted,
    budgeted_model,
)
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.middleware.support import ASK, LANDED, assert_complete, assert_within, look_up, openai_model, serving, thread

Ask = Callable[[str], Any]
"""Asks a model inside a tool."""


def consults(request: Request) -> Reply:
    """The agent hands its question to a tool once; what the tool asks has no tools of its own."""
    if request.tools and not request.tool_results:
        return Reply("Let me ask.", [ToolCall("consult", {"question": "Why?"}, id="call_1")])
    return Reply(LANDED)


def directly(model: Any) -> Ask:
    return lambda question: model.invoke(question)


def by_a_governed_model(model: Any) -> Ask:
    governed = budgeted_model(model)
    return lambda question: governed.invoke(question)


def by_a_chain(model: Any) -> Ask:
    chain = RunnableLambda(lambda question: f"{question}!") | model
    return lambda question: chain.invoke(question)


def by_a_graph(model: Any) -> Ask:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("doubt", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "think")
    graph.add_edge(START, "doubt")
    app = graph.compile()
    return lambda question: app.invoke({"messages": question})


def by_an_agent(model: Any) -> Ask:
    app: Any = create_agent(model)
    return lambda question: app.invoke({"messages": question})


def in_a_thread(model: Any) -> Ask:
    def ask(question: str) -> Any:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(copy_context().run, model.invoke, question).result()

    return ask


WAYS = [directly, by_a_governed_model, by_a_chain, by_a_graph, by_an_agent, in_a_thread]


def insatiable(ask: Ask) -> BaseTool:
    """A tool that asks for as long as it may."""

    @tool
    def consult(question: str) -> str:
        """Asks somebody else."""
        for _ in range(1_000):
            ask(question)
        return "enough"

    return consult


def tight(**settings: Any) -> Budget:
    return Budget(usd="0.005", landing_reserve=0.2, max_wait=0, **settings)


def invoked(app: Any, start: Any, config: Any, is_async: bool) -> Any:
    return asyncio.run(app.ainvoke(start, config)) if is_async else app.invoke(start, config)


def agent_with(provider: LocalProvider, way: Callable[[Any], Ask], budget: Budget, **settings: Any) -> Any:
    guard = BudgetMiddleware(budget=budget)
    consult = insatiable(way(openai_model(provider, max_tokens=100)))
    return create_agent(openai_model(provider, max_tokens=100), [consult], middleware=[guard], **settings), guard


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_model_refused_inside_a_tool_is_the_tools_answer(way: Callable[[Any], Ask], is_async: bool) -> None:
    with serving(consults) as provider:
        app, guard = agent_with(provider, way, tight())
        state = invoked(app, ASK, thread(), is_async)
        report = guard.spend(thread())
        assert_within(report, provider)
        assert len(report.model_calls) == len(provider.requests) > 3
        (answer,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert answer.status == "error"
        assert "This tool had to stop: Budget 'session' cannot cover a call of gpt-4o" in answer.text
        assert state["messages"][-1].text == LANDED
        assert_complete(state["messages"])


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_budget_that_raises_does_so_out_of_a_tool(way: Callable[[Any], Ask], is_async: bool) -> None:
    with serving(consults) as provider:
        app, guard = agent_with(provider, way, tight(on_exhausted="raise"))
        with pytest.raises(BudgetExceeded, match="Budget 'session' cannot cover a call of gpt-4o"):
            invoked(app, ASK, thread(), is_async)
        assert_within(guard.spend(thread()), provider)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_budget_that_suspends_does_so_inside_a_tool(way: Callable[[Any], Ask], is_async: bool) -> None:
    with serving(consults) as provider:
        app, guard = agent_with(provider, way, tight(on_exhausted="suspend"), checkpointer=InMemorySaver())
        state = invoked(app, ASK, thread(), is_async)
        assert isinstance(state["messages"][-1], AIMessage)
        assert app.get_state(thread()).next == ("tools",)
        called = len(guard.spend(thread()).model_calls)
        guard.top_up(thread(), usd="0.005", by="ada")
        invoked(app, None, thread(), is_async)
        assert len(guard.spend(thread()).model_calls) > called
        assert_within(guard.spend(thread()), provider)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ["session", "callback"])
@pytest.mark.parametrize("way", [directly, by_a_graph, by_an_agent])
def test_a_callbacks_refusal_inside_a_tool_is_the_tools_answer_too(
    way: Callable[[Any], Ask], name: str, is_async: bool
) -> None:
    with serving(consults) as provider:
        app, guard = agent_with(provider, way, Budget(usd="1.00", max_wait=0))
        callback = CostCallback(budget=Budget(name=name, usd="0.005", max_wait=0), ledger=guard.meter.ledger)
        state = invoked(app, ASK, {**thread(), "callbacks": [callback]}, is_async)
        (answer,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert answer.status == "error"
        assert f"This tool had to stop: Budget '{name}' cannot cover a call of gpt-4o" in answer.text
        assert callback.spend_of("t1").cost_nanos == provider.bill_nanos <= 5_000_000


@pytest.mark.parametrize("is_async", [False, True])
def test_an_agent_inside_a_governed_graph_answers_its_own_tools(is_async: bool) -> None:
    with serving(consults) as provider:
        agent, _ = agent_with(provider, by_a_graph, tight(name="agent"))
        graph: Any = StateGraph(MessagesState)
        graph.add_node("agent", agent)
        graph.add_edge(START, "agent")
        graph.add_edge("agent", END)
        app = budgeted(graph.compile(), budget=Budget(name="all", usd="1.00"))
        state = invoked(app, ASK, thread(), is_async)
        assert [m.status for m in state["messages"] if isinstance(m, ToolMessage)] == ["error"]
        report = app.spend(thread())
        assert_within(report, provider)
        spent = {balance.account.budget: balance.spent for balance in report.balances if balance.account.unit == "usd"}
        assert spent["all"] == spent["agent"] == provider.bill_nanos


@pytest.mark.parametrize("is_async", [False, True])
def test_a_governed_graph_inside_a_tool_lands_by_itself(is_async: bool) -> None:
    with serving(consults) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=100))
        graph: Any = BudgetedGraph(MessagesState, budget=Budget(name="inner", model_calls=3, max_wait=0))
        graph.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_edge(START, "think")
        graph.add_edge("think", "think")
        inner = graph.compile()

        @tool
        def consult(question: str) -> str:
            """Asks somebody else."""
            return str(inner.invoke({"messages": question})["messages"][-1].text)

        guard = BudgetMiddleware(budget=Budget(name="all", usd="1.00"))
        app: Any = create_agent(openai_model(provider), [consult], middleware=[guard])
        state = invoked(app, ASK, thread(), is_async)
        (answer,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert answer.status == "success"
        report = guard.spend(thread())
        assert_within(report, provider)
        assert len(provider.requests) == len(report.model_calls) == 5
        spent = {balance.account.budget: balance.spent for balance in report.balances}
        assert spent["inner"] == 3


def test_a_tool_may_catch_the_refusal_of_a_group_of_tasks() -> None:
    with serving(consults) as provider:
        plain = openai_model(provider, max_tokens=20)

        @tool
        async def consult(question: str) -> str:
            """Asks three models at once."""
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(plain.ainvoke(question))
            except* BudgetExceeded:
                question = "too dear"
            return question

        guard = BudgetMiddleware(budget=Budget(model_calls=3, max_wait=0))
        app: Any = create_agent(openai_model(provider, max_tokens=40), [consult], middleware=[guard])
        state: Any = asyncio.run(app.ainvoke(ASK, thread()))
        assert [m.text for m in state["messages"] if isinstance(m, ToolMessage)] == ["too dear"]
        assert_complete(state["messages"])


def test_an_agent_is_built_as_without_the_middleware() -> None:
    with serving(consults) as provider:
        guard = BudgetMiddleware(budget=tight())
        plain: Any = create_agent(openai_model(provider))
        governed: Any = create_agent(openai_model(provider), middleware=[guard])
        assert governed.get_graph().draw_mermaid() == plain.get_graph().draw_mermaid()


def test_tools_that_nobody_has_are_still_reported() -> None:
    from langchain.agents.middleware import ModelRequest, wrap_model_call

    @wrap_model_call
    def with_another_tool(request: ModelRequest[Any], handler: Any) -> Any:
        return handler(request.override(tools=[look_up]))

    with serving(consults) as provider:
        guard = BudgetMiddleware(budget=tight())
        app: Any = create_agent(
            openai_model(provider), [insatiable(directly(None))], middleware=[with_another_tool, guard]
        )
        with pytest.raises(ValueError, match="look_up"):
            app.invoke(ASK, thread())
        assert not provider.requests
