"""A call that was refused and is made again: refused at once while nothing has changed, admitted as soon as it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
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


def test_what_one_user_was_refused_is_not_told_to_another(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(model_calls=1, per="user"))
    model = openai_model(provider, max_tokens=10)

    def ask(user: str) -> str:
        try:
            return str(model.invoke("Who?", {"metadata": {"user": user}}).text)
        except BudgetExceeded as refusal:
            return refusal.account

    chain: Any = RunnableLambda(lambda _: [ask(user) for user in ("ada", "ada", "bob")])
    answers = chain.invoke("Go.", {"callbacks": [callback]})
    assert answers == ["fine", "user|user=ada||model_calls", "fine"]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("in_a_graph", [False, True])
def test_prompts_of_one_invocation_are_refused_together(
    is_async: bool, in_a_graph: bool, provider: LocalProvider
) -> None:
    """Nobody else would ever end those that were admitted before; nor may one wait for them."""
    model = openai_model(provider, max_tokens=10)
    prompts: Any = [[HumanMessage(f"Part {number}.")] for number in range(3)]
    budget = Budget(model_calls=2, landing_reserve=0)
    callback = None if in_a_graph else CostCallback(budget=budget)
    callbacks: Any = [callback] if callback else None

    async def awork(state: Any) -> Any:
        return {"messages": [(await model.agenerate(prompts, callbacks=callbacks)).generations[0][0].text]}

    def work(state: Any) -> Any:
        return {"messages": [model.generate(prompts, callbacks=callbacks).generations[0][0].text]}

    if callback is None:
        graph: Any = BudgetedGraph(MessagesState, budget=budget)
        graph.add_node("work", awork if is_async else work)
        graph.add_edge(START, "work")
        app = graph.compile()
        state: Any = {"messages": [("user", "Go.")]}
        asyncio.run(app.ainvoke(state, thread())) if is_async else app.invoke(state, thread())
        report = app.spend(thread())
    else:
        with pytest.raises(BudgetExceeded):
            asyncio.run(awork(None)) if is_async else work(None)
        report = callback.spend
    assert not provider.requests
    assert report.refusals
    assert_exact(report, provider)
