"""A call that was refused and is made again: refused at once while nothing has changed, admitted as soon as it fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState

from budgeted_agents import Budget, BudgetedGraph, BudgetExceeded, CostCallback, open_ledger
from budgeted_agents.ledgers import Account
from budgeted_agents.testing import LocalProvider, fixed
from tests.langgraph.support import assert_exact, openai_model, serving, thread

NOON = 1_800_014_400.0


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed("fine", output_tokens=2)) as running:
        yield running


def asking_twice(callback: CostCallback, provider: LocalProvider, between: Any) -> list[str]:
    """In one chain: a call, the same refused, something happens, the same again."""
    model = openai_model(provider, max_tokens=10)

    def ask(question: str) -> str:
        try:
            return str(model.invoke(question).text)
        except BudgetExceeded:
            return "refused"

    def work(question: str) -> list[str]:
        before = [ask(question), ask(question)]
        between()
        return [*before, ask(question)]

    return RunnableLambda(work).invoke("Who?", {"callbacks": [callback]})


def test_a_top_up_from_elsewhere_is_seen_at_once(provider: LocalProvider) -> None:
    ledger = open_ledger("memory://")
    callback = CostCallback(budget=Budget(model_calls=1), ledger=ledger, session="s1")
    account = Account("session", (("session", "s1"),), unit="model_calls")

    def top_up() -> None:
        ledger.credit("top-up", account, 5, limit=1, now=NOON)

    assert asking_twice(callback, provider, top_up) == ["fine", "refused", "fine"]
    assert_exact(callback.spend, provider)


def test_the_next_window_is_seen_at_once(provider: LocalProvider) -> None:
    callback, now = CostCallback(budget=Budget(model_calls=1, window="minute")), [NOON]
    callback.meter.clock = lambda: now[0]
    assert asking_twice(callback, provider, lambda: now.__setitem__(0, NOON + 60)) == ["fine", "refused", "fine"]


def test_while_nothing_has_changed_it_is_repeated_without_another_note(provider: LocalProvider) -> None:
    callback, now = CostCallback(budget=Budget(model_calls=1), session="s1"), [NOON]
    callback.meter.clock = lambda: now[0]
    assert asking_twice(callback, provider, lambda: None) == ["fine", "refused", "refused"]
    assert len(callback.spend.refusals) == 1


def test_a_node_may_top_up_and_ask_again(provider: LocalProvider) -> None:
    model = openai_model(provider, max_tokens=10)

    def work(state: Any) -> Any:
        model.invoke("Who?")
        try:
            return {"messages": [model.invoke("Who?")]}
        except BudgetExceeded:
            app.top_up(thread(), model_calls=5, by="ada")
        return {"messages": [model.invoke("Who?")]}

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=1, landing_reserve=0))
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    app = graph.compile()
    assert app.invoke({"messages": [("user", "Go.")]}, thread())["messages"][-1].text == "fine"
    assert_exact(app.spend(thread()), provider)


def test_a_thread_may_be_the_number_0(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(model_calls=2))
    chain = RunnableLambda(openai_model(provider, max_tokens=10).invoke)
    config: Any = {"callbacks": [callback], "configurable": {"thread_id": 0}}
    for _ in range(2):
        chain.invoke("Who?", config)
    with pytest.raises(BudgetExceeded, match="session=0"):
        chain.invoke("Who?", config)
    assert callback.spend_of("0").cost_nanos == provider.bill_nanos
