"""The wire fixture in small: $1.00 of gpt-4o, 8,000 tokens in, up to 16,000 out, true spend counted by the provider."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy, Send

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.testing import Reply, Request, ToolCall
from tests.langgraph.support import (
    CAP,
    LONG_PROMPT,
    State,
    assert_all_kept,
    assert_exact,
    openai_model,
    serving,
    slim,
    thread,
)

LEAST_USED = Decimal("0.95")
Build = Callable[[Any, BaseChatModel], None]


def looping(graph: Any, node: Callable[[State], Any]) -> None:
    graph.add_node("work", node)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: "work" if state["visits"] < 40 else END)


def sequential(graph: Any, model: BaseChatModel) -> None:
    looping(graph, lambda s: {"messages": [slim(model.invoke(LONG_PROMPT))], "visits": s["visits"] + 1})


def streaming(graph: Any, model: BaseChatModel) -> None:
    def work(state: State) -> Any:
        chunks = list(model.stream(LONG_PROMPT))
        return {"messages": [slim(sum(chunks[1:], chunks[0]))], "visits": state["visits"] + 1}

    looping(graph, work)


def catching_everything(graph: Any, model: BaseChatModel) -> None:
    def work(state: State) -> Any:
        got = []
        for _ in range(20):
            with suppress(Exception):
                got.append(slim(model.invoke(LONG_PROMPT)))
        return {"messages": got}

    graph.add_node("work", work)
    graph.add_edge(START, "work")


def fan_out(graph: Any, model: BaseChatModel) -> None:
    graph.add_node("work", lambda state: {"messages": [slim(model.invoke(LONG_PROMPT))]})
    graph.add_conditional_edges(START, lambda state: [Send("work", state) for _ in range(20)])


def async_fan_out(graph: Any, model: BaseChatModel) -> None:
    async def work(state: State) -> Any:
        return {"messages": [slim(await model.ainvoke(LONG_PROMPT))]}

    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda state: [Send("work", state) for _ in range(50)])


def gathering(graph: Any, model: BaseChatModel) -> None:
    async def work(state: State) -> Any:
        answers = await asyncio.gather(*[model.ainvoke(LONG_PROMPT) for _ in range(50)], return_exceptions=True)
        return {"messages": [slim(answer) for answer in answers if not isinstance(answer, BaseException)]}

    graph.add_node("work", work)
    graph.add_edge(START, "work")


SHAPES: list[tuple[Build, bool]] = [
    (sequential, False),
    (streaming, False),
    (catching_everything, False),
    (fan_out, False),
    (async_fan_out, True),
    (gathering, True),
    (sequential, True),
    (streaming, True),
]


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
@pytest.mark.parametrize(("build", "is_async"), SHAPES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_the_cap_holds_and_is_used(build: Build, is_async: bool, storage: str, tmp_path: Path) -> None:
    ledger = "memory://" if storage == "memory" else f"sqlite:///{tmp_path / 'spend.db'}"
    with serving() as provider:
        graph = BudgetedGraph(State, budget=Budget(usd=CAP), ledger=ledger)
        build(graph, budgeted_model(openai_model(provider, max_tokens=16_000)))
        app: Any = graph.compile()
        start = {"messages": [], "visits": 0}
        state = asyncio.run(app.ainvoke(start, thread())) if is_async else app.invoke(start, thread())
        report = app.spend(thread())
        app.settings.meter.ledger.close()
        assert_exact(report, provider)
        assert_all_kept(state["messages"], provider)
        assert provider.bill_usd / CAP >= LEAST_USED
        assert report.refusals


@pytest.mark.parametrize("build", [sequential, fan_out, catching_everything])
def test_a_plain_model_is_stopped_before_the_call_that_would_not_fit(build: Build) -> None:
    with serving() as provider:
        graph = BudgetedGraph(State, budget=Budget(usd=CAP))
        build(graph, openai_model(provider, max_tokens=16_000))
        app: Any = graph.compile()
        state = app.invoke({"messages": [], "visits": 0}, thread())
        assert_exact(app.spend(thread()), provider)
        assert_all_kept(state["messages"], provider)
        assert len(provider.requests) == 5  # a sixth answer of 16,000 tokens would not fit, and cannot be shortened


class AgentState(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} means {word}."


def asks_forever(request: Request) -> Reply:
    """Calls two tools forever; now and then the provider stumbles, which costs nothing."""
    if request.number % 5 == 2:
        return Reply("try again", status=429, headers={"retry-after": "0"})
    calls = [ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}_{n}") for n in (1, 2)]
    return Reply("thinking ", calls if request.tools else (), output_tokens=4_000)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tool_calling_agent_with_retries_holds_the_cap(is_async: bool) -> None:
    with serving(asks_forever) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=16_000)).bind_tools([look_up])
        graph = BudgetedGraph(AgentState, budget=Budget(usd=CAP))

        def agent(state: AgentState) -> Any:
            return {"messages": [model.invoke(state["messages"])]}

        graph.add_node("agent", agent, retry_policy=RetryPolicy(max_attempts=4, initial_interval=0.001, jitter=False))
        graph.add_node("tools", ToolNode([look_up]))
        graph.add_edge(START, "agent")
        graph.add_conditional_edges("agent", lambda state: "tools" if state["messages"][-1].tool_calls else END)
        graph.add_edge("tools", "agent")
        app: Any = graph.compile()
        start = {"messages": [HumanMessage(LONG_PROMPT)]}
        state = asyncio.run(app.ainvoke(start, thread())) if is_async else app.invoke(start, thread())
        report = app.spend(thread())
        assert_exact(report, provider)
        assert_all_kept(state["messages"], provider)
        assert provider.bill_usd / CAP >= LEAST_USED
        # The provider accepts what came out: it rejects a tool call without its result.
        openai_model(provider).bind_tools([look_up]).with_retry(stop_after_attempt=2).invoke(
            [*state["messages"], HumanMessage("Go on.")]
        )


def test_without_a_budget_nothing_is_changed_or_counted() -> None:
    with serving() as provider:
        graph: Any = BudgetedGraph(State)
        fan_out(graph, budgeted_model(openai_model(provider, max_tokens=10)))
        app = graph.compile()
        assert type(app) is type(StateGraph(State).add_node("n", lambda state: state).add_edge(START, "n").compile())
        assert len(app.invoke({"messages": [], "visits": 0})["messages"]) == 20
        assert len(provider.requests) == 20
