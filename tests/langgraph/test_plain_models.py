"""Chat models that know nothing of budgets are metered inside a governed graph, and stopped before the call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM
from langgraph.graph import START
from langgraph.types import Send

from budgeted_agents import Budget, BudgetedGraph, CostCallback, PriceBook, open_ledger
from budgeted_agents.errors import UnknownPrice
from budgeted_agents.testing import LocalProvider, Reply, fixed
from tests.langgraph.support import State, assert_all_kept, assert_exact, openai_model, serving, slim, thread

CAP = Decimal("0.01")
BEGIN = {"messages": [], "visits": 0}


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed("word " * 100, output_tokens=100)) as running:
        yield running


def summed(chunks: list[Any]) -> Any:
    return slim(sum(chunks[1:], chunks[0]))


def invoking(model: Any) -> Any:
    return lambda state: {"messages": [slim(model.invoke("Go on."))]}


def streaming(model: Any) -> Any:
    return lambda state: {"messages": [summed(list(model.stream("Go on.", stream_usage=True)))]}


def batching(model: Any) -> Any:
    return lambda state: {"messages": [slim(answer) for answer in model.batch(["Go on."])]}


def ainvoking(model: Any) -> Any:
    async def work(state: State) -> Any:
        return {"messages": [slim(await model.ainvoke("Go on."))]}

    return work


def ainvoking_two(model: Any) -> Any:
    async def work(state: State) -> Any:
        return {"messages": [slim(answer) for answer in await model.abatch(["Go on.", "And on."])]}

    return work


def astreaming(model: Any) -> Any:
    async def work(state: State) -> Any:
        return {"messages": [summed([chunk async for chunk in model.astream("Go on.", stream_usage=True)])]}

    return work


def with_callbacks_of_its_own(model: Any) -> Any:
    return lambda state: {"messages": [slim(model.invoke("Go on.", {"callbacks": []}))]}


def in_a_chain(model: Any) -> Any:
    return lambda state: {"messages": [slim((model | (lambda answer: answer)).invoke("Go on."))]}


@pytest.mark.parametrize("node", [invoking, streaming, batching, with_callbacks_of_its_own, in_a_chain])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_plain_model_is_stopped_before_the_call(node: Any, is_async: bool, provider: LocalProvider) -> None:
    run_and_check(node, is_async, provider)


@pytest.mark.parametrize("node", [ainvoking, astreaming])
def test_an_asynchronous_plain_model_is_stopped_before_the_call(node: Any, provider: LocalProvider) -> None:
    run_and_check(node, is_async=True, provider=provider)


def run_and_check(node: Any, is_async: bool, provider: LocalProvider) -> None:
    graph: Any = BudgetedGraph(State, budget=Budget(usd=CAP, landing_reserve=0))
    graph.add_node("work", node(openai_model(provider, max_tokens=100)))
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    app = graph.compile()
    asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
    assert_exact(app.spend(thread()), provider, CAP)
    assert provider.bill_usd >= CAP * 4 // 5
    assert app.spend(thread()).refusals


@pytest.mark.parametrize("has_a_callback", [False, True])
@pytest.mark.parametrize("storage", ["memory", "sqlite"])
@pytest.mark.parametrize("node", [ainvoking, astreaming, ainvoking_two])
def test_asynchronous_calls_wait_for_money_that_others_hold(
    node: Any, storage: str, has_a_callback: bool, provider: LocalProvider, tmp_path: Path
) -> None:
    """All fit by what they cost. By what they may cost, each for a whole answer, only some do at a time."""
    calls = 20
    ledger = open_ledger("memory://" if storage == "memory" else f"sqlite:///{tmp_path / 'spend.db'}")
    beside = CostCallback(budget=Budget(name="beside", usd=1), ledger=ledger, session="t1")
    graph: Any = BudgetedGraph(State, budget=Budget(usd="0.05", landing_reserve=0), ledger=ledger)
    graph.add_node("work", node(openai_model(provider, max_tokens=1_000)))
    graph.add_conditional_edges(START, lambda state: [Send("work", BEGIN)] * calls)
    app = graph.compile()
    config: Any = {**thread(), "callbacks": [beside] if has_a_callback else []}
    state = asyncio.run(app.ainvoke(BEGIN, config))
    assert_all_kept(state["messages"], provider)
    assert len(provider.requests) == len(state["messages"]) >= calls
    assert not app.spend(thread()).refusals
    assert_exact(app.spend(thread()), provider, Decimal("0.05"))


def test_a_synchronous_call_on_an_event_loop_is_governed_as_well(provider: LocalProvider) -> None:
    """It blocks the loop, so there is nothing to wait for."""
    model = openai_model(provider, max_tokens=100)

    async def work(state: State) -> Any:
        return {"messages": [slim(model.invoke("Go on."))]}

    run_and_check(lambda _: work, is_async=True, provider=provider)


def test_a_whole_answer_is_never_cut_because_we_count_more_tokens_than_the_provider() -> None:
    """As with a vocabulary we do not have: the provider's 100 tokens count as 250 here."""
    with serving(lambda request: Reply("word " * 250, output_tokens=100)) as provider:
        graph: Any = BudgetedGraph(State, budget=Budget(usd=1))
        graph.add_node("work", streaming(openai_model(provider, max_tokens=100)))
        graph.add_edge(START, "work")
        app = graph.compile()
        assert len(app.invoke(BEGIN, thread())["messages"]) == 1
        assert_exact(app.spend(thread()), provider)


def test_models_that_complete_texts_are_metered_too() -> None:
    model = FakeListLLM(responses=["fine"])
    graph: Any = BudgetedGraph(State, budget=Budget(model_calls=3, landing_reserve=0))
    graph.add_node("work", lambda state: {"messages": [model.invoke("Go on.")]})
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    app = graph.compile()
    assert len(app.invoke(BEGIN, thread())["messages"]) == 3 + 1
    assert len(app.spend(thread()).model_calls) == 3


def test_a_model_without_a_price_is_stopped_unless_no_budget_counts_money(provider: LocalProvider) -> None:
    model = openai_model(provider, "gpt-4o-mega")
    for budget, sent in ((Budget(usd=1), 0), (Budget(model_calls=9), 1)):
        graph: Any = BudgetedGraph(State, budget=budget)
        graph.add_node("work", lambda state: {"messages": [model.invoke("Go on.")]})
        graph.add_edge(START, "work")
        with pytest.raises(Exception, match=r"gpt-4o") as raised:
            graph.compile().invoke(BEGIN, thread())
        assert isinstance(raised.value, UnknownPrice) == (sent == 0)
        assert len(provider.requests) == sent  # the provider does not know it either


def test_a_price_of_the_users_own_is_charged(provider: LocalProvider) -> None:
    prices = PriceBook.default().with_overrides(
        {"gpt-4o": {"input_cost_per_token": "0.00001", "output_cost_per_token": "0.0001", "litellm_provider": "openai"}}
    )
    graph: Any = BudgetedGraph(State, budget=Budget(usd=1), prices=prices)
    graph.add_node("work", invoking(openai_model(provider, max_tokens=100)))
    graph.add_edge(START, "work")
    app = graph.compile()
    app.invoke(BEGIN, thread())
    usage = provider.requests[0].usage
    assert app.spend(thread()).cost_usd == Decimal(usage.input_tokens) / 100_000 + Decimal(usage.output_tokens) / 10_000
