"""Caps other than money: loops, depth, context, calls, tokens, requests a minute. And shadow mode."""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from budgeted_agents import Budget, BudgetedGraph, budgeted, budgeted_model
from budgeted_agents.integrations.langchain.pruning.shortening import shortened
from budgeted_agents.testing import LocalProvider, Reply, fixed
from budgeted_agents.testing.histories import check_history
from tests.langchain.histories import histories, wire
from tests.langgraph.support import State, calls_tool, openai_model, serving, slim, thread

BEGIN = {"messages": [], "visits": 0}


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed("fine", output_tokens=2)) as running:
        yield running


def endless(provider: LocalProvider, budget: Budget, **settings: Any) -> Any:
    model = budgeted_model(openai_model(provider, max_tokens=10))
    graph: Any = BudgetedGraph(State, budget=budget, **settings)
    graph.add_node("work", lambda state: {"messages": [slim(model.invoke("Go on."))]})
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    return graph.compile()


# -- loops --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_a_node_is_visited_as_often_as_loops_says(is_async: bool, provider: LocalProvider) -> None:
    app = endless(provider, Budget(loops=4))
    asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
    report = app.spend(thread())
    assert len(provider.requests) == 4 + 1  # and the landing
    assert "loops" in report.refusals[0]
    assert report.landing == "Landed by the default finalizer"


def test_a_fan_out_is_one_visit(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=10))
    graph: Any = BudgetedGraph(State, budget=Budget(loops=2, model_calls=100))
    graph.add_node("plan", lambda state: {"visits": state["visits"] + 1})
    graph.add_node("work", lambda state: {"messages": [slim(model.invoke("Go on."))]})
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: [Send("work", state) for _ in range(5)], ["work"])
    graph.add_edge("work", "plan")
    app = graph.compile()
    app.invoke(BEGIN, thread())
    assert len([record for record in app.spend(thread()).model_calls if record.node == "work"]) == 10


def test_each_run_counts_its_own_loops(provider: LocalProvider) -> None:
    app = endless(provider, Budget(loops=2))
    for run in (1, 2):
        app.invoke(BEGIN, thread())
        assert len(provider.requests) == 3 * run


def looping(ask: Any, times: int) -> Any:
    """A plain graph that goes round so often, or forever."""
    rounds = iter(range(1, 1_000_000))
    graph: Any = StateGraph(State)
    graph.add_node("work", ask)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: END if next(rounds) % times == 0 else "work", ["work", END])
    return graph.compile()


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "events"])
@pytest.mark.parametrize("closure", [False, True], ids=["a node", "in a node"])
def test_loops_of_a_plain_graph_inside_are_counted(way: str, closure: bool, provider: LocalProvider) -> None:
    model = openai_model(provider, max_tokens=10)
    inner = looping(lambda state: {"messages": [slim(model.invoke("Go on."))]}, 1_000_000)
    graph: Any = BudgetedGraph(State, budget=Budget(loops=3))
    graph.add_node("inner", (lambda state: inner.invoke(state)) if closure else inner)
    graph.add_edge(START, "inner")
    app = graph.compile()
    if way == "events":
        asyncio.run(_all(app.astream_events(BEGIN, thread(), version="v2")))
    else:
        asyncio.run(app.ainvoke(BEGIN, thread())) if way == "ainvoke" else app.invoke(BEGIN, thread())
    report = app.spend(thread())
    assert len([call for call in report.model_calls if call.node == "work"]) == 3
    assert len(report.refusals) == 1
    assert "another visit of node 'work'" in report.refusals[0]
    assert report.landing == "Landed with the partial state"


def test_a_graph_inside_counts_anew_each_time_it_is_entered(provider: LocalProvider) -> None:
    model = openai_model(provider, max_tokens=10)
    inner = looping(lambda state: {"messages": [slim(model.invoke("Go on."))]}, 2)
    graph: Any = BudgetedGraph(State, budget=Budget(loops=2))
    for name in ("first", "second", "third"):
        graph.add_node(name, inner)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", "third")
    app = graph.compile()
    app.invoke(BEGIN, thread())
    assert len(provider.requests) == 3 * 2
    assert not app.spend(thread()).refusals


def test_counting_leaves_a_graph_inside_its_own_thread() -> None:
    """LangGraph goes by what a config says itself: a child with a thread of its own keeps its own checkpoints."""
    budget, saver = Budget(loops=2), InMemorySaver()
    child: Any = BudgetedGraph(State, budget=budget)
    child.add_node("work", lambda state: {"visits": state["visits"] + 1})
    child.add_edge(START, "work")
    inner = child.compile(checkpointer=saver)
    parent: Any = BudgetedGraph(State, budget=budget)
    parent.add_node("ask", lambda state: {"visits": inner.invoke(BEGIN, thread("own"))["visits"]})
    parent.add_edge(START, "ask")
    parent.compile(checkpointer=saver).invoke(BEGIN, thread())
    state = inner.get_state(thread("own"))
    assert state.values["visits"] == 1
    assert state.config["configurable"]["checkpoint_ns"] == ""


async def _all(events: Any) -> list[Any]:
    return [event async for event in events]


# -- depth --------------------------------------------------------------------------------------------------------


def nested(model: Any, levels: int) -> Any:
    """Agents inside agents, each asking once before the one inside it does."""
    graph: Any = StateGraph(State)
    graph.add_node("ask", lambda state: {"messages": [slim(model.invoke(f"level {levels}"))]})
    graph.add_edge(START, "ask")
    if levels:
        graph.add_node("inner", nested(model, levels - 1))
        graph.add_edge("ask", "inner")
    return graph.compile()


@pytest.mark.parametrize(("depth", "asked"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_depth_stops_agents_inside_agents(depth: int, asked: int, provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=10))
    app: Any = budgeted(nested(model, 2), budget=Budget(depth=depth, model_calls=3, landing_reserve=0))
    app.invoke(BEGIN, thread())
    report = app.spend(thread())
    assert len([r for r in provider.requests if r.request.user_texts[0].startswith("level")]) == asked
    assert bool(report.landing) == (asked < 3)


def test_an_agent_used_as_a_tool_counts_as_depth_and_the_outer_agent_goes_on() -> None:
    def reply(request: Any) -> Reply:
        asked = request.tools and not request.tool_results
        return calls_tool(request, "helper", question="x") if asked else Reply("The answer.")

    with serving(reply) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=50))
        helping = BudgetedGraph(State, budget=Budget(name="helper", model_calls=9))
        helping.add_node("ask", lambda state: {"messages": [slim(model.invoke("inside"))]})
        helping.add_edge(START, "ask")
        helper_app = helping.compile()

        @tool
        def helper(question: str) -> str:
            """Asks a helper."""
            return str(helper_app.invoke({"messages": [], "visits": 0})["messages"][-1].text)

        graph: Any = BudgetedGraph(Chat, budget=Budget(depth=1, usd=1))
        bound = model.bind_tools([helper])
        graph.add_node("agent", lambda state: {"messages": [bound.invoke(state["messages"])]})
        graph.add_node("tools", ToolNode([helper]))
        graph.add_edge(START, "agent")
        graph.add_conditional_edges("agent", lambda s: "tools" if s["messages"][-1].tool_calls else END)
        graph.add_edge("tools", "agent")
        app = graph.compile()
        state = app.invoke({"messages": [HumanMessage("Go on.")]}, thread())
        assert state["messages"][-1].text == "The answer."
        assert [record.request.user_texts for record in provider.requests] == [("Go on.",), ("Go on.",)]
        assert "depth" in app.spend(thread()).refusals[0]


# -- context ------------------------------------------------------------------------------------------------------


@given(histories())
def test_pruning_leaves_a_history_that_providers_accept(history: list[Any]) -> None:
    check_history(wire(history))
    before = [message.model_copy() for message in history]
    versions = shortened(history)
    for version in versions:
        check_history(wire(version))
        first = next(message for message in version if not isinstance(message, SystemMessage))
        assert isinstance(first, HumanMessage)
        assert [m for m in version if isinstance(m, SystemMessage)] == [m for m in history if m.type == "system"]
        assert version[-1].id == history[-1].id
        assert type(version[-1]) is type(history[-1])
    assert history == before


@pytest.fixture(scope="module")
def running() -> Iterator[LocalProvider]:
    with serving(fixed("fine", output_tokens=2)) as provider:
        yield provider


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_every_call_stays_under_the_cap_on_context(running: LocalProvider, seed: int) -> None:
    """On the wire: the provider counts the tokens, and would reject an invalid history."""
    rng = random.Random(seed)
    model = budgeted_model(openai_model(running, max_tokens=10))
    graph: Any = BudgetedGraph(Chat, budget=Budget(context_tokens=400))
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "agent")
    history: list[Any] = [HumanMessage("What is a tree?")]
    for turn in range(12):
        ids = [f"c{turn}_{n}" for n in range(rng.randint(0, 3))]
        history.append(AIMessage("hm", tool_calls=[{"name": "f", "args": {}, "id": id} for id in ids]))
        history += [ToolMessage("word " * rng.randint(0, 60), tool_call_id=id) for id in ids]
        history.append(HumanMessage("and " * rng.randint(1, 20)))
    app = graph.compile()
    state = app.invoke({"messages": history}, thread(str(seed)))
    assert state["messages"][-1].text == "fine"
    assert len(state["messages"]) == len(history) + 1  # only what is sent is pruned
    assert running.requests[-1].usage.input_tokens <= 400


def test_a_last_turn_that_is_too_long_by_itself_is_refused(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=10))
    graph: Any = BudgetedGraph(Chat, budget=Budget(context_tokens=100, on_exhausted="suspend"))
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "agent")
    app = graph.compile()
    app.invoke({"messages": [HumanMessage("short"), HumanMessage("word " * 500)]}, thread())
    assert not provider.requests
    assert "context_tokens" in app.spend(thread()).refusals[0]


# -- calls, tokens, requests --------------------------------------------------------------------------------------


def test_tokens_are_capped_and_used(provider: LocalProvider) -> None:
    app = endless(provider, Budget(tokens=500, min_output_tokens=5))
    app.invoke(BEGIN, thread())
    used = sum(record.usage.input_tokens + record.usage.output_tokens for record in provider.requests)
    assert 400 <= used <= 500
    assert [balance.spent for balance in app.spend(thread()).balances] == [used]


def test_a_cap_on_calls_keeps_one_for_the_landing(provider: LocalProvider) -> None:
    app = endless(provider, Budget(model_calls=5))
    app.invoke(BEGIN, thread())
    assert [record.node for record in app.spend(thread()).model_calls] == ["work"] * 4 + ["finalizer"]


def test_requests_a_minute_start_afresh_with_the_minute(provider: LocalProvider) -> None:
    now = [1_800_000_000.0]
    app = endless(provider, Budget(requests_per_minute=3, max_wait=0))
    app.settings.meter.__dict__.update(replace(app.settings.meter, clock=lambda: now[0]).__dict__)
    for minute in (1, 2):
        app.invoke(BEGIN, thread())
        assert len(provider.requests) == 3 * minute
        now[0] += 60


def test_failures_are_counted_against_no_cap() -> None:
    failing = Reply("busy", status=503, headers={"retry-after": "0"})
    answers = [Reply("fine", output_tokens=2), Reply("landed", output_tokens=2)]
    with serving([failing] * 6 + answers) as provider:  # each call is tried three times
        app = endless(provider, Budget(model_calls=2))
        for _ in range(2):
            with pytest.raises(Exception, match="busy"):
                app.invoke(BEGIN, thread())
        app.invoke(BEGIN, thread())
        report = app.spend(thread())
    assert [call.outcome for call in report.model_calls] == ["released"] * 6 + ["settled"] * 2


# -- shadow -------------------------------------------------------------------------------------------------------

SHADOW = Budget(
    usd="0.0001", tokens=10, model_calls=1, loops=1, depth=1, context_tokens=10, tool_calls=1, mode="shadow"
)


@pytest.mark.parametrize("is_async", [False, True])
def test_shadow_mode_sends_the_same_bytes_and_says_what_it_would_have_done(is_async: bool) -> None:
    bodies = []
    reports = []
    for budget in (None, SHADOW):
        with serving(fixed("fine", output_tokens=2)) as provider:
            model = budgeted_model(openai_model(provider), openai_model(provider, "gpt-4o-mini"))
            graph: Any = BudgetedGraph(State, budget=budget)

            def work(state: State, model: Any = model) -> Any:
                return {"messages": [slim(model.invoke("word " * 20))], "visits": state["visits"] + 1}

            graph.add_node("work", work)
            graph.add_edge(START, "work")
            graph.add_conditional_edges("work", lambda state: "work" if state["visits"] < 4 else END)
            app = graph.compile()
            state = asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
            assert len(state["messages"]) == 4
            bodies.append([record.request.body for record in provider.requests])
            if budget:
                reports.append(app.spend(thread()))
                assert reports[0].cost_nanos == provider.bill_nanos
    assert bodies[0] == bodies[1]
    flags = [flag for call in reports[0].calls for flag in call.flags]
    assert "shadow: budget 'session' would have refused" in flags
    assert not reports[0].landing
    assert all(call.model_used == "gpt-4o" for call in reports[0].model_calls)
    assert reports[0].cost_usd > Decimal("0.0001")


def test_a_task_is_no_agent_inside_an_agent() -> None:
    """Neither is a task in a task."""
    with serving(fixed("fine", output_tokens=2)) as provider:
        model = openai_model(provider, max_tokens=10)

        @task
        def deeper() -> str:
            return str(model.invoke("Who?").text)

        @task
        def deep() -> str:
            return str(model.invoke("Who?").text) + deeper().result()

        @entrypoint()
        def work(question: str) -> str:
            return str(model.invoke("Who?").text) + deep().result()

        app = budgeted(work, budget=Budget(depth=1, on_exhausted="raise"))
        assert app.invoke("Go.", thread()) == "finefinefine"
