"""Several handlers of one call on a ledger that waits for a disk: on an event loop they are run in threads, at once.
The call is held and charged once, and not at all where one of them refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, BudgetExceeded, CostCallback, open_ledger
from budgeted_agents.ledgers import Ledger
from budgeted_agents.testing import LocalProvider
from tests.attach.support import assert_balanced, openai, serving

CALLS = 40


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Any) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/spend.db")
    yield ledger
    ledger.close()


def test_two_callbacks_on_one_file_charge_a_call_once(provider: LocalProvider, ledger: Ledger) -> None:
    callbacks: Any = [
        CostCallback(budget=Budget(name=name, usd="9.00"), ledger=ledger, session="s1") for name in ("one", "other")
    ]

    async def run() -> None:
        model = openai(provider)
        await asyncio.gather(*(model.ainvoke("?", {"callbacks": callbacks}) for _ in range(CALLS)))

    asyncio.run(run())
    report = callbacks[0].spend
    assert len(report.model_calls) == len(provider.requests) == CALLS
    assert report.cost_nanos == provider.bill_nanos
    assert_balanced(report, provider.bill_nanos)


def test_graphs_inside_graphs_on_one_file_charge_a_call_once(provider: LocalProvider, ledger: Ledger) -> None:
    """The session's budget was charged twice: by the run around, and by the run inside for both."""
    model = openai(provider)

    async def ask(state: Any) -> Any:
        return {"messages": await asyncio.gather(*(model.ainvoke("?") for _ in range(CALLS)))}

    inner: Any = BudgetedGraph(MessagesState, budget=Budget(name="inner", usd="9.00"), ledger=ledger)
    outer: Any = BudgetedGraph(MessagesState, budget=Budget(usd="9.00", model_calls=CALLS + 9), ledger=ledger)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    app = outer.compile()
    asyncio.run(app.ainvoke({"messages": []}, {"configurable": {"thread_id": "t1"}}))
    report = app.spend({"configurable": {"thread_id": "t1"}})
    assert len(report.model_calls) == len(provider.requests) == CALLS
    assert report.cost_nanos == provider.bill_nanos
    (counted,) = (balance for balance in report.balances if balance.account.unit == "model_calls")
    assert counted.spent == CALLS
    assert_balanced(report, provider.bill_nanos)


def test_a_call_that_one_refuses_is_held_by_none(provider: LocalProvider, ledger: Ledger) -> None:
    strict = CostCallback(budget=Budget(name="strict", model_calls=1), ledger=ledger, session="s1")
    callbacks: Any = [strict, CostCallback(budget=Budget(name="wide", usd="9.00"), ledger=ledger, session="s1")]

    async def run() -> None:
        model = openai(provider)
        asked = [model.ainvoke(f"{number}?", {"callbacks": callbacks}) for number in range(CALLS)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(answer, BudgetExceeded) for answer in answers) == CALLS - 1
        await asyncio.get_running_loop().shutdown_default_executor()  # handlers that come late have run

    asyncio.run(run())
    assert len(provider.requests) == 1
    assert_balanced(strict.spend, provider.bill_nanos)
