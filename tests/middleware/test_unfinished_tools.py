"""A tool that is refused in its midst tells the agent what models had answered in it: that was paid for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, budgeted_model, open_ledger
from budgeted_agents.testing import Reply, Request, ToolCall
from tests.middleware.support import ASK, LANDED, assert_within, look_up, openai_model, serving, thread


def results(state: Any) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def consulting(rounds: int) -> Any:
    """The agent asks a tool so many times; a model that looks things up does so forever; others just answer."""

    def reply(request: Request) -> Reply:
        if "consult" in request.tool_names and len(request.tool_results) < rounds:
            return Reply("", [ToolCall("consult", {"question": "Why?"}, id=f"call_{request.number}")])
        if "look_up" in request.tool_names:
            thought = f"thought {request.number}"
            return Reply(thought, [ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}")])
        return Reply(LANDED if request.messages[-1].text.startswith("The budget") else f"answer {request.number}")

    return reply


@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize("is_governed", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_the_tools_answer_has_what_models_had_answered_in_it(
    is_inside: bool, is_governed: bool, is_async: bool
) -> None:
    """Only in this call of it: the one before has ended well, and said itself what it found."""
    with serving(consulting(rounds=9)) as provider:
        plain = openai_model(provider, max_tokens=100)
        model = budgeted_model(plain) if is_governed else plain

        @tool
        def consult(question: str) -> str:
            """Asks a model three times."""
            return " and ".join([str(model.invoke(question).text) for _ in range(3)])

        @tool("consult")
        async def aconsult(question: str) -> str:
            """Asks a model three times."""
            return " and ".join([str((await model.ainvoke(question)).text) for _ in range(3)])

        ledger = open_ledger("memory://")
        guard = BudgetMiddleware(budget=Budget(model_calls=8), ledger=ledger)
        agent: Any = create_agent(plain, [aconsult if is_async else consult], middleware=[guard])
        if is_inside:
            graph: Any = BudgetedGraph(MessagesState, budget=Budget(name="around", usd="1.00"), ledger=ledger)
            graph.add_node("agent", agent)
            graph.add_edge(START, "agent")
            agent = graph.compile()
        state = asyncio.run(agent.ainvoke(ASK, thread())) if is_async else agent.invoke(ASK, thread())
        first, second = results(state)
        assert first.text == "answer 2 and answer 3 and answer 4"
        assert second.status == "error"
        assert second.text.endswith("What models had answered in it:\n\nanswer 6\n\nanswer 7")
        assert state["messages"][-1].text == LANDED
        assert_within(guard.spend(thread()), provider)


@pytest.mark.parametrize("has_middleware", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_an_agent_that_is_a_tool_is_not_lost(has_middleware: bool, is_async: bool) -> None:
    """The tool gives the last message of the agent inside alone, as most do."""
    with serving(consulting(rounds=1)) as provider:
        model, ledger = openai_model(provider, max_tokens=100), open_ledger("memory://")
        own = [BudgetMiddleware(budget=Budget(name="inner", model_calls=99), ledger=ledger)] if has_middleware else []
        inner: Any = create_agent(model, [look_up], middleware=own)

        @tool
        def consult(question: str) -> str:
            """Asks an agent."""
            return str(inner.invoke({"messages": [HumanMessage(question)]})["messages"][-1].text)

        @tool("consult")
        async def aconsult(question: str) -> str:
            """Asks an agent."""
            return str((await inner.ainvoke({"messages": [HumanMessage(question)]}))["messages"][-1].text)

        guard = BudgetMiddleware(budget=Budget(model_calls=5), ledger=ledger)
        agent: Any = create_agent(model, [aconsult if is_async else consult], middleware=[guard])
        state = asyncio.run(agent.ainvoke(ASK, thread())) if is_async else agent.invoke(ASK, thread())
        (result,) = results(state)
        for number in (2, 3, 4):
            assert f"thought {number}\nlook_up(" in result.text
        assert state["messages"][-1].text == LANDED
        assert_within(guard.spend(thread()), provider)


def test_a_long_result_does_not_keep_the_run_from_an_answer() -> None:
    """Not even without it there would be an answer, if the latest result could not be cleared."""
    with serving(consulting(rounds=99)) as provider:

        @tool
        def consult(question: str) -> str:
            """Gives a whole book."""
            return "word " * 8_000

        guard = BudgetMiddleware(budget=Budget(usd="0.02", landing_reserve=0.2))
        agent: Any = create_agent(openai_model(provider, max_tokens=100), [consult], middleware=[guard])
        state = agent.invoke(ASK, thread())
        assert state["messages"][-1].text == LANDED
        assert_within(guard.spend(thread()), provider)
