"""Caps on tools: a refused call is answered by a message that says so, the others run, and the agent goes on."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, interrupt

from budgeted_agents import Budget, BudgetedGraph, CostCallback, budgeted_model
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.langgraph.support import openai_model, serving, thread


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


CALLED: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    CALLED.clear()


@tool
def search(query: str) -> str:
    """Searches."""
    CALLED.append("search")
    return f"found {query}"


@tool
async def fetch(url: str) -> str:
    """Fetches."""
    CALLED.append("fetch")
    return f"fetched {url}"


@tool
def fail(reason: str) -> str:
    """Fails."""
    CALLED.append("fail")
    raise ValueError(reason)


def turns(*calls: list[tuple[str, dict[str, Any]]]) -> Any:
    """One turn of tool calls after the other, then an answer."""

    def reply(request: Request) -> Reply:
        turn = sum(message.role == "assistant" for message in request.messages)
        if turn >= len(calls):
            return Reply("The answer.")
        return Reply(tool_calls=[ToolCall(name, args, f"c{turn}_{n}") for n, (name, args) in enumerate(calls[turn])])

    return reply


def run(provider: LocalProvider, budget: Budget, *, is_async: bool = False, wrapper: Any = None) -> tuple[Any, Any]:
    tools: Any = [search, fetch, fail] if is_async else [search, fail]
    model = budgeted_model(openai_model(provider)).bind_tools(tools)
    graph: Any = BudgetedGraph(Chat, budget=budget)

    async def ask(state: Chat) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph.add_node("agent", ask if is_async else lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(tools, handle_tool_errors=True, wrap_tool_call=wrapper))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "agent")
    app = graph.compile()
    begin = {"messages": [HumanMessage("Go on.")]}
    state = asyncio.run(app.ainvoke(begin, thread())) if is_async else app.invoke(begin, thread())
    return app, state


def results(state: Any) -> list[tuple[str | None, str]]:
    return [(message.name, message.status) for message in state["messages"] if isinstance(message, ToolMessage)]


SEARCH, FETCH, FAIL = ("search", {"query": "x"}), ("fetch", {"url": "x"}), ("fail", {"reason": "x"})


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("cap", "made"), [(3, 3), ({"search": 2}, 2), ({"*": 4}, 4), ({"other": 1}, 6), ({"*": 5, "search": 1}, 1)]
)
def test_calls_are_capped_by_name_and_altogether(cap: Any, made: int, is_async: bool) -> None:
    with serving(turns(*[[SEARCH, SEARCH]] * 3)) as provider:
        app, state = run(provider, Budget(tool_calls=cap), is_async=is_async)
        report = app.spend(thread())
    assert len(CALLED) == made
    assert [status for _, status in results(state)].count("success") == made
    assert len(results(state)) == 6  # the provider would not have gone on with fewer
    assert state["messages"][-1].text == "The answer."
    assert len(report.refusals) == 6 - made
    assert not report.landing


def test_parallel_calls_that_fit_run_and_keep_their_results() -> None:
    with serving(turns([SEARCH, FETCH, SEARCH, FETCH])) as provider:
        _, state = run(provider, Budget(tool_calls={"search": 1}), is_async=True)
    assert sorted(CALLED) == ["fetch", "fetch", "search"]
    assert sorted(results(state)) == [
        ("fetch", "success"),
        ("fetch", "success"),
        ("search", "error"),
        ("search", "success"),
    ]


@pytest.mark.parametrize("is_async", [False, True])
def test_tools_that_do_not_exist_and_arguments_that_do_not_fit_are_not_counted(is_async: bool) -> None:
    unknown: tuple[str, dict[str, Any]] = ("no_such_tool", {})
    misfit = ("search", {"wrong": 1})
    with serving(turns([unknown, misfit], [misfit, unknown], [SEARCH, SEARCH])) as provider:
        app, _ = run(provider, Budget(tool_calls=2), is_async=is_async)
        report = app.spend(thread())
    assert CALLED == ["search", "search"]
    assert not report.refusals  # not even of a call beside an unknown one
    assert [balance.spent for balance in report.balances if balance.account.unit == "tool_calls"] == [2]
    assert [balance.held for balance in report.balances] == [0] * len(report.balances)


def test_a_tool_that_fails_was_called_all_the_same() -> None:
    with serving(turns([FAIL], [FAIL], [FAIL])) as provider:
        app, _ = run(provider, Budget(tool_calls=2))
        report = app.spend(thread())
    assert CALLED == ["fail", "fail"]
    assert [call.error for call in report.tool_calls] == ["ValueError", "ValueError"]
    assert len(report.refusals) == 1


def test_a_wrapper_of_the_users_own_still_wraps_and_each_of_its_attempts_is_counted() -> None:
    wrapped = []

    def twice(request: Any, execute: Any) -> Any:
        wrapped.append(request.tool_call["name"])
        execute(request)
        return execute(request)

    with serving(turns([SEARCH], [SEARCH])) as provider:
        app, state = run(provider, Budget(tool_calls=3), wrapper=twice)
        assert len(app.spend(thread()).refusals) == 1
    assert wrapped == ["search", "search"]
    assert len(CALLED) == 3
    assert results(state) == [("search", "success"), ("search", "error")]


ONE = Budget(tool_calls=1, on_exhausted="suspend")


def by_graph() -> tuple[Any, dict[str, Any], Any]:
    app: Any = BudgetedGraph(Chat, budget=ONE)
    return app, {}, lambda compiled: compiled.spend(thread())


def by_callback() -> tuple[Any, dict[str, Any], Any]:
    callback = CostCallback(budget=ONE)
    return StateGraph(Chat), {"callbacks": [callback]}, lambda _: callback.spend_of("t1")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("governed", [by_graph, by_callback])
def test_a_tool_that_asks_a_person_is_counted_once_it_has_the_answer(governed: Any, is_async: bool) -> None:
    @tool
    def pay(amount: int) -> str:
        """Pays."""
        return f"paid {amount}: {interrupt('May I?')}"

    with serving(turns([("pay", {"amount": 5})], [("pay", {"amount": 6})])) as provider:
        model = openai_model(provider, max_tokens=100).bind_tools([pay])

        async def ask(state: Chat) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph, config, spend = governed()
        graph.add_node("agent", ask if is_async else lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_node("tools", ToolNode([pay]))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "tools")
        graph.add_edge("tools", END)
        app = graph.compile(checkpointer=InMemorySaver())

        def go(given: Any) -> Any:
            whole = {**thread(), **config}
            return asyncio.run(app.ainvoke(given, whole)) if is_async else app.invoke(given, whole)

        assert go({"messages": [HumanMessage("Pay.")]})["__interrupt__"]
        assert spend(app).in_flight == 0
        assert results(go(Command(resume="yes")))[-1] == ("pay", "success")
        assert [(b.spent, b.held) for b in spend(app).balances] == [(1, 0)]
        assert not spend(app).refusals


def test_a_model_called_inside_a_tool_is_refused_by_landing_the_run() -> None:
    """A refused model call is the run's affair, not the tool's: nothing is told to the model to try again."""
    with serving(turns(*[[("consult", {"question": "x"})]] * 9)) as provider:
        plain = openai_model(provider, max_tokens=20)

        @tool
        def consult(question: str) -> str:
            """Asks another model."""
            return str(plain.invoke(question).text)

        model = budgeted_model(openai_model(provider, max_tokens=20)).bind_tools([consult])
        graph: Any = BudgetedGraph(Chat, budget=Budget(model_calls=4, landing_reserve=0))
        graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
        graph.add_node("tools", ToolNode([consult], handle_tool_errors=True))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "tools")
        graph.add_edge("tools", "agent")
        app = graph.compile()
        state = app.invoke({"messages": [HumanMessage("Go on.")]}, thread())
        assert len(provider.requests) == 4
        assert app.spend(thread()).landing
        openai_model(provider).bind_tools([consult]).invoke([*state["messages"], HumanMessage("Go on.")])


def test_a_tool_called_by_hand_is_capped_too() -> None:
    def work(state: Chat) -> Any:
        search.invoke({"query": "x"})
        return {}

    graph: Any = BudgetedGraph(Chat, budget=Budget(tool_calls=2))
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    app = graph.compile()
    app.invoke({"messages": []}, thread())
    assert CALLED == ["search", "search"]
    assert len(app.spend(thread()).refusals) == 1
    assert app.spend(thread()).landing


@pytest.mark.parametrize("is_async", [False, True])
def test_a_refusal_is_not_served_from_the_node_cache_to_who_has_budget(is_async: bool) -> None:
    searched: list[str] = []

    @tool
    def look_for(subject: str) -> str:
        """Searches."""
        searched.append(subject)
        return f"found {subject}"

    def plan(state: Any) -> Any:
        subject = state["messages"][-1].text
        return {
            "messages": [AIMessage("", tool_calls=[{"name": "look_for", "args": {"subject": subject}, "id": "call"}])]
        }

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(tool_calls=1))
    graph.add_node("plan", plan)
    by_subject = CachePolicy(key_func=lambda state: state["messages"][-1].tool_calls[0]["args"]["subject"].encode())
    graph.add_node("tools", ToolNode([look_for]), cache_policy=by_subject)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "tools")
    app = graph.compile(cache=InMemoryCache(), checkpointer=InMemorySaver())

    def answer(subject: str, session: str) -> str:
        state: Any = {"messages": [("user", subject)]}
        config = thread(session)
        ended = asyncio.run(app.ainvoke(state, config)) if is_async else app.invoke(state, config)
        assert app.get_state(config).next == ()
        return str(ended["messages"][-1].text)

    assert answer("cats", "one") == "found cats"
    assert answer("dogs", "one").startswith("This tool was not called")
    assert answer("dogs", "two") == "found dogs"
    assert answer("birds", "one").startswith("This tool was not called")
    assert answer("dogs", "one") == "found dogs"  # out of the cache, which costs nothing
    assert searched == ["cats", "dogs"]
