"""LangChain's cache and a governed model: an answer for less money is nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.testing import LocalProvider, Reply, Request
from tests.langgraph.support import openai_model, serving, thread

LONG = 600
BOTH = ("gpt-4o", "gpt-4o-mini")


def long_answer(request: Request) -> Reply:
    return Reply(f"{request.model}: {'word ' * LONG}")


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(long_answer) as running:
        yield running


@pytest.fixture(params=["of the process", "of the model"])
def cache(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What the models are made with."""
    if request.param == "of the model":
        yield {"cache": InMemoryCache()}
        return
    set_llm_cache(InMemoryCache())
    yield {}
    set_llm_cache(None)


def asked(model: Any, budget: Budget, is_async: bool, *, history: int = 1) -> str:
    """What a session of its own answers."""

    def work(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def awork(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph: Any = BudgetedGraph(MessagesState, budget=budget)
    graph.add_node("work", awork if is_async else work)
    graph.add_edge(START, "work")
    app, state = graph.compile(), {"messages": [("user", f"Question {number}.") for number in range(history)]}
    ended = asyncio.run(app.ainvoke(state, thread())) if is_async else app.invoke(state, thread())
    return str(ended["messages"][-1].text)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("names", "budget"),
    [(BOTH, Budget(usd="0.0002", max_wait=0)), (BOTH[:1], Budget(usd="0.005", max_wait=0))],
    ids=["by a cheaper model", "shortened"],
)
def test_an_answer_for_less_money_is_not_kept(
    names: tuple[str, ...], budget: Budget, is_async: bool, cache: Any, provider: LocalProvider
) -> None:
    model = budgeted_model(*(openai_model(provider, name, max_tokens=2_000, **cache) for name in names))
    poor = asked(model, budget, is_async)
    rich = asked(model, Budget(usd=1), is_async)
    assert len(provider.requests) == 2
    assert len(poor) < len(rich)
    assert rich.startswith("gpt-4o: ")
    assert asked(model, Budget(usd=1), is_async) == rich
    assert len(provider.requests) == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_an_answer_to_a_part_of_the_history_is_not_kept(is_async: bool, cache: Any, provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=2_000, **cache))
    for context_tokens in (40, None, None):
        asked(model, Budget(usd=1, context_tokens=context_tokens), is_async, history=9)
    sizes = [len(record.request.messages) for record in provider.requests]
    assert len(sizes) == 2
    assert sizes[0] < sizes[1] == 9


def test_an_answer_that_ended_before_its_limit_is_kept(cache: Any, provider: LocalProvider) -> None:
    """No limit is set on the model, so every call is clamped: to far more than what comes."""
    model = budgeted_model(openai_model(provider, **cache))
    answers = {asked(model, Budget(usd="0.05"), False) for _ in range(2)}
    assert (len(provider.requests), len(answers)) == (1, 1)
