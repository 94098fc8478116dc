"""Several handlers on one call: one ledger is charged once, and the budgets of all hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState
from langgraph.prebuilt import ToolNode

from budgeted_agents import (
    Budget,
    BudgetedGraph,
    BudgetExceeded,
    CostCallback,
    attribute,
    budgeted_model,
    govern_app,
    open_ledger,
)
from budgeted_agents.budget import Policy
from budgeted_agents.budget.budget import LIMITS
from budgeted_agents.errors import InvalidBudget
from budgeted_agents.integrations.langchain.governance.joint import joint_policy
from budgeted_agents.ledgers import Ledger
from budgeted_agents.reports import spend_report
from budgeted_agents.testing import LocalProvider
from tests.attach.support import Heard, assert_balanced, assert_seen_once, openai, serving, spend_of

THREAD: Any = {"configurable": {"thread_id": "t1"}}
PROMPT = [HumanMessage("Hello.")]


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as provider:
        yield provider


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Ledger]:
    ledger = open_ledger("memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'spend.db'}")
    yield ledger
    ledger.close()


def app_of(model: Any, calls: int = 1, **settings: Any) -> Any:
    graph: Any = BudgetedGraph(MessagesState, **settings)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(PROMPT) for _ in range(calls)]})
    graph.add_edge(START, "ask")
    return graph.compile()


@pytest.mark.parametrize("governed", [False, True])
def test_a_graph_and_a_callback_on_one_ledger_charge_a_call_once(
    provider: LocalProvider, ledger: Ledger, governed: bool
) -> None:
    model = budgeted_model(openai(provider)) if governed else openai(provider)
    app = app_of(model, budget=Budget(usd="1.00"), ledger=ledger)
    callback = CostCallback(budget=Budget(name="mine", usd="0.50"), ledger=ledger)
    app.invoke({"messages": []}, {**THREAD, "callbacks": [callback]})
    assert_seen_once(app.spend(THREAD), provider, 1)
    assert_seen_once(callback.spend, provider, 1)
    assert {balance.account.budget for balance in callback.spend.balances} == {"session", "mine"}


@pytest.mark.parametrize("governed", [False, True])
def test_a_graph_and_a_callback_on_ledgers_of_their_own_are_both_right(provider: LocalProvider, governed: bool) -> None:
    model = budgeted_model(openai(provider)) if governed else openai(provider)
    app = app_of(model, budget=Budget(usd="1.00"))
    callback = CostCallback(budget=Budget(usd="0.50"))
    app.invoke({"messages": []}, {**THREAD, "callbacks": [callback]})
    assert_seen_once(app.spend(THREAD), provider, 1)
    assert_seen_once(callback.spend, provider, 1)


@pytest.mark.parametrize("tight", ["graph", "callback"])
@pytest.mark.parametrize("name", ["", "mine"])
@pytest.mark.parametrize("governed", [False, True])
def test_the_tighter_budget_holds_whosever_it_is(
    provider: LocalProvider, ledger: Ledger, governed: bool, name: str, tight: str
) -> None:
    model = openai(provider, max_tokens=50)  # at most $0.000625 a call
    graph_usd, callback_usd = ("0.0015", "1.00") if tight == "graph" else ("1.00", "0.0015")
    model = budgeted_model(model) if governed else model  # type: ignore[assignment]
    app = app_of(model, calls=10, budget=Budget(usd=graph_usd, landing_reserve=0, min_output_tokens=50), ledger=ledger)
    callback = CostCallback(budget=Budget(name=name, usd=callback_usd, min_output_tokens=50), ledger=ledger)
    app.invoke({"messages": []}, {**THREAD, "callbacks": [callback]})
    report = app.spend(THREAD)
    assert 1 <= len(provider.requests) <= 3
    assert report.cost_nanos == provider.bill_nanos <= 1_500_000
    assert report.refusals
    assert_balanced(report, provider.bill_nanos)


@pytest.mark.parametrize("limit", LIMITS)
def test_budgets_of_one_account_become_one_with_the_tighter_of_each_limit(limit: str) -> None:
    tight, loose = (Budget(**{limit: {"*": most} if limit == "tool_calls" else most}) for most in (1, 2))
    for one, other in ((tight, loose), (loose, tight)):
        (budget,) = joint_policy(Policy((one,)), Policy((other,))).budgets
        assert getattr(budget, limit) == getattr(tight, limit)


def test_two_callbacks_on_one_ledger_charge_a_call_once(provider: LocalProvider, ledger: Ledger) -> None:
    outer = CostCallback(budget=Budget(usd="1.00"), ledger=ledger, session="s")
    inner = CostCallback(budget=Budget(name="inner", usd="0.0015"), ledger=ledger, session="s")
    model = openai(provider, callbacks=[inner])
    model.invoke(PROMPT, {"callbacks": [outer]})
    spend_of(outer, provider, 1)
    spend_of(inner, provider, 1)
    with pytest.raises(BudgetExceeded, match="'inner'"):
        model.invoke(PROMPT, {"callbacks": [outer]})
    spend_of(outer, provider, 1)  # and nothing of the refused call is left held


@pytest.mark.parametrize("other", ["link/spend.db", "real/../real/spend.db", "spend.db"])
def test_a_file_is_one_ledger_by_whatever_path(provider: LocalProvider, tmp_path: Any, other: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "spend.db").symlink_to("real/spend.db")
    places = [f"sqlite:///{tmp_path}/real/spend.db", f"sqlite:///{tmp_path}/{other}"]
    graph, callback = open_ledger(places[0]), open_ledger(places[1])
    watching = CostCallback(budget=Budget(name="watched", model_calls=9), ledger=callback)
    inner = app_of(openai(provider), budget=Budget(name="inner", model_calls=9), ledger=callback)
    outer: Any = BudgetedGraph(MessagesState, budget=Budget(usd="1.00"), ledger=graph)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    outer.compile().invoke({"messages": []}, {**THREAD, "callbacks": [watching]})
    assert_seen_once(watching.spend_of("t1"), provider, 1)
    graph.close()
    callback.close()


def test_a_refusal_by_one_ledger_leaves_nothing_held_in_the_other(provider: LocalProvider) -> None:
    rich, poor = CostCallback(budget=Budget(usd="1.00")), CostCallback(budget=Budget(usd="0.000001"))
    with pytest.raises(BudgetExceeded):
        openai(provider).invoke(PROMPT, {"callbacks": [rich, poor]})
    assert_balanced(rich.spend, 0)
    assert not provider.requests


def test_budgets_of_one_name_over_different_accounts_are_no_policy(provider: LocalProvider, ledger: Ledger) -> None:
    one = CostCallback(budget=Budget(name="b", usd="1.00"), ledger=ledger, session="s")
    other = CostCallback(budget=Budget(name="b", per="tenant", usd="1.00"), ledger=ledger, session="s")
    with pytest.raises(InvalidBudget, match="two budgets have this name"):
        openai(provider).invoke(PROMPT, {"callbacks": [one, other]})
    assert_balanced(one.spend, 0)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_callback_makes_a_budgeted_model_shorten_its_answers(provider: LocalProvider, streamed: bool) -> None:
    model = budgeted_model(openai(provider, max_tokens=16_000))
    callback = CostCallback(budget=Budget(usd="0.01"))
    chain = RunnableLambda(lambda text: text) | model
    config: Any = {"callbacks": [callback]}
    answer = list(chain.stream("Hi", config)) if streamed else chain.invoke("Hi", config)
    assert answer
    [call] = spend_of(callback, provider, 1).model_calls
    assert call.output_limit == provider.requests[0].request.max_output_tokens
    assert call.output_limit is not None
    assert call.output_limit < 1_000


def test_a_tool_is_counted_once_by_graph_and_callback(provider: LocalProvider, ledger: Ledger) -> None:
    @tool
    def look_up(word: str) -> str:
        """Looks a word up."""
        return word

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(tool_calls=5), ledger=ledger)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    app = graph.compile()
    callback = CostCallback(budget=Budget(tool_calls=5), ledger=ledger)
    call = {"name": "look_up", "args": {"word": "tree"}, "id": "call_1", "type": "tool_call"}
    app.invoke({"messages": [AIMessage("", tool_calls=[call])]}, {**THREAD, "callbacks": [callback]})
    report = app.spend(THREAD)
    assert len(report.tool_calls) == 1
    assert [balance.spent for balance in report.balances] == [1]


def test_one_call_governs_the_whole_process_until_it_is_undone(provider: LocalProvider) -> None:
    model, heard = openai(provider), Heard()
    with govern_app(CostCallback(budget=Budget(usd="0.0015"), listeners=[heard])) as callback:
        chain = RunnableLambda(lambda text: text) | model
        for thread in ("t1", "t2"):
            config: Any = {"configurable": {"thread_id": thread}}
            chain.invoke("Hi", config)
            with pytest.raises(BudgetExceeded):
                [chain.invoke("Hi", config) for _ in range(4)]
            assert callback.spend_of(thread).cost_nanos > 0
        with attribute(session="t3"):
            chain.invoke("Hi")
        total = sum(callback.spend_of(thread).cost_nanos for thread in ("t1", "t2", "t3"))
        assert total == provider.bill_nanos
        assert {event.session for event in heard.of("refusal")} == {"t1", "t2"}
    before = len(provider.requests)
    chain.batch(["Hi"] * 5)
    assert len(provider.requests) == before + 5
    assert sum(callback.spend_of(thread).cost_nanos for thread in ("t1", "t2", "t3")) == total


def test_app_wide_callbacks_may_be_nested_and_undone_in_any_order(provider: LocalProvider) -> None:
    first, second = CostCallback(session="a"), CostCallback(session="b")
    one, two = govern_app(first), govern_app(second)
    openai(provider).invoke(PROMPT)
    one.close()
    openai(provider).invoke(PROMPT)
    two.close()
    two.close()
    openai(provider).invoke(PROMPT)
    assert [len(callback.spend.model_calls) for callback in (first, second)] == [1, 2]


def test_a_session_is_the_one_given_then_the_calls_own_then_the_ambient_one(provider: LocalProvider) -> None:
    chain, ledger = RunnableLambda(lambda text: text) | openai(provider), open_ledger("memory://")
    for callback, named, session in (
        (CostCallback(ledger=ledger, session="given"), {"configurable": {"thread_id": "thread"}}, "given"),
        (CostCallback(ledger=ledger), {"configurable": {"thread_id": "thread"}}, "thread"),
        (CostCallback(ledger=ledger), {"metadata": {"session": "named"}}, "named"),
        (CostCallback(ledger=ledger), {}, "ambient"),
    ):
        config: Any = {**named, "callbacks": [callback]}
        with attribute(session="ambient"):
            chain.invoke("Hi", config)
        assert len(spend_report(ledger, session, now=callback.meter.clock()).model_calls) == 1, session


def test_metadata_names_the_session_of_a_batch(provider: LocalProvider) -> None:
    """langchain-core does not tell callbacks the ``thread_id`` of a chain's batch."""
    callback, chain = CostCallback(), RunnableLambda(lambda text: text) | openai(provider)
    chain.batch(["Hi", "Ho"], {"metadata": {"session": "named"}, "callbacks": [callback]})
    with attribute(session="ambient"):
        chain.batch(["Hi", "Ho"], {"callbacks": [callback]})
    assert [len(callback.spend_of(session).model_calls) for session in ("named", "ambient")] == [2, 2]
