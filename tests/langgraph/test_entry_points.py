"""Every way of running a compiled graph goes through the budget, and every one lands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.testing import LocalProvider, fixed
from tests.langgraph.support import State, assert_all_kept, assert_exact, openai_model, serving, slim, thread

CAP = Decimal("0.05")
START_STATE = {"messages": [HumanMessage("Go on.")], "visits": 0}
WORDS = " word" * 30


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed(WORDS, output_tokens=30)) as running:
        yield running


def endless(provider: LocalProvider, *, inner: bool = False, **compiling: Any) -> Any:
    """A graph that would never stop by itself, under a budget for three calls and a landing."""
    model = budgeted_model(openai_model(provider, max_tokens=40))

    def work(state: State) -> Any:
        return {"messages": [slim(model.invoke("Go on."))], "visits": 1}

    graph: Any = BudgetedGraph(State, budget=Budget(usd=CAP, model_calls=4, min_output_tokens=20))
    graph.add_node("work", _as_subgraph(work) if inner else work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: "work" if state["visits"] else END)
    return graph.compile(**compiling)


def _as_subgraph(work: Callable[[State], Any]) -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("inside", lambda state: {**work(state), "messages": []})
    graph.add_edge(START, "inside")
    return graph.compile()


def assert_landed(app: Any, provider: LocalProvider, session: str = "t1", calls: int = 4) -> None:
    report = app.spend(thread(session))
    assert report.landing == "Landed by the default finalizer"
    assert len(report.model_calls) == calls
    assert len(report.refusals) == 1


async def collected(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


RUNS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda app: app.invoke(START_STATE, thread()),
    "ainvoke": lambda app: asyncio.run(app.ainvoke(START_STATE, thread())),
    "batch": lambda app: app.batch([START_STATE], [thread()])[0],
    "abatch": lambda app: asyncio.run(app.abatch([START_STATE], [thread()]))[0],
    "stream values": lambda app: list(app.stream(START_STATE, thread(), stream_mode="values"))[-1],
    "invoke in a chain": lambda app: (app | (lambda state: state)).invoke(START_STATE, thread()),
    "with_config": lambda app: app.with_config(tags=["x"]).invoke(START_STATE, thread()),
    "with_config thread": lambda app: app.with_config(configurable={"thread_id": "t1"}).invoke(START_STATE),
    "copy": lambda app: app.copy().invoke(START_STATE, thread()),
    "with_retry": lambda app: app.with_retry().invoke(START_STATE, thread()),
    "with_fallbacks": lambda app: app.with_fallbacks([app]).invoke(START_STATE, thread()),
}


@pytest.mark.parametrize("way", RUNS)
@pytest.mark.parametrize("saves", [False, True])
def test_every_entry_point_holds_the_cap_and_lands(way: str, saves: bool, provider: LocalProvider) -> None:
    app = endless(provider, checkpointer=InMemorySaver() if saves else None)
    state = RUNS[way](app)
    assert_exact(app.spend(thread()), provider, CAP)
    assert_landed(app, provider)
    assert len(state["messages"]) == 1 + 4


MODES: list[Any] = ["values", "updates", "messages", "custom", "debug", "tasks", "checkpoints", ["values", "updates"]]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_every_stream_mode_holds_the_cap_and_lands(
    mode: Any, subgraphs: bool, is_async: bool, provider: LocalProvider
) -> None:
    app = endless(provider, checkpointer=InMemorySaver())
    options = {"stream_mode": mode, "subgraphs": subgraphs}
    if is_async:
        chunks = asyncio.run(collected(app.astream(START_STATE, thread(), **options)))
    else:
        chunks = list(app.stream(START_STATE, thread(), **options))
    assert bool(chunks) == (mode != "custom")
    assert "finalizer" in str(chunks) or mode in ("values", "custom")
    assert_exact(app.spend(thread()), provider, CAP)
    assert_landed(app, provider)


@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_events_hold_the_cap_and_land(version: Any, provider: LocalProvider) -> None:
    app = endless(provider)
    events = asyncio.run(collected(app.astream_events(START_STATE, thread(), version=version)))
    assert {"work", "finalizer"} <= {event["name"] for event in events}
    assert_exact(app.spend(thread()), provider, CAP)
    assert_landed(app, provider)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_protocol_events_hold_the_cap_and_land(provider: LocalProvider) -> None:
    app = endless(provider)
    run = app.stream_events(START_STATE, thread(), version="v3")
    assert run.output["messages"]
    assert_exact(app.spend(thread()), provider, CAP)
    assert_landed(app, provider)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_asynchronous_protocol_events_hold_the_cap_and_land(provider: LocalProvider) -> None:
    async def run(app: Any) -> Any:
        events = await app.astream_events(START_STATE, thread(), version="v3")
        return await events.output()

    app = endless(provider)
    assert asyncio.run(run(app))["messages"]
    assert_exact(app.spend(thread()), provider, CAP)
    assert_landed(app, provider)


def test_parallel_sessions_of_a_batch_each_have_a_budget_of_their_own(provider: LocalProvider) -> None:
    app = endless(provider)
    sessions = [f"t{number}" for number in range(5)]
    app.batch([START_STATE] * 5, [thread(name) for name in sessions])
    for name in sessions:
        assert_landed(app, provider, name)
    assert sum(app.spend(thread(name)).cost_nanos for name in sessions) == provider.bill_nanos


def test_runs_without_a_thread_are_sessions_of_their_own(provider: LocalProvider) -> None:
    app = endless(provider)
    for runs in (1, 2):
        app.invoke(START_STATE)
        assert len(app.spend().model_calls) == 4
        assert len(provider.requests) == 4 * runs


def test_a_session_goes_on_with_what_it_has_left(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))
    graph: Any = BudgetedGraph(State, budget=Budget(usd=CAP, model_calls=3, landing_reserve=0))
    graph.add_node("work", lambda state: {"messages": [slim(model.invoke("Go on."))]})
    graph.add_edge(START, "work")
    app = graph.compile(checkpointer=InMemorySaver())
    landings = []
    for _ in range(5):
        app.invoke(START_STATE, thread())
        landings.append(app.spend(thread()).landing)
    assert len(provider.requests) == 3
    assert landings == ["", "", "", "Landed with the partial state", "Landed with the partial state"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("saver", ["memory", "sqlite"])
def test_every_durability_keeps_what_was_paid_for(
    durability: Any, inner: bool, saver: str, provider: LocalProvider, tmp_path: Path
) -> None:
    def check(checkpointer: Any) -> None:
        app = endless(provider, inner=inner, checkpointer=checkpointer)
        state = app.invoke(START_STATE, thread(), durability=durability)
        assert app.get_state(thread()).values == state
        assert app.get_state(thread()).next == ()
        assert_exact(app.spend(thread()), provider, CAP)
        if not inner:
            assert_all_kept(state["messages"], provider)

    if saver == "memory":
        check(InMemorySaver())
    else:
        with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as checkpointer:
            check(checkpointer)


STRICT = """
from langgraph.checkpoint.sqlite import SqliteSaver
from tests.langgraph.support import *
from tests.langgraph.test_entry_points import CAP, START_STATE, WORDS, assert_landed, endless
from budgeted_agents.testing import fixed
with serving(fixed(WORDS, output_tokens=30)) as provider, SqliteSaver.from_conn_string(":memory:") as saver:
    app = endless(provider, checkpointer=saver)
    app.invoke(START_STATE, thread())
    history = list(app.get_state_history(thread()))
    assert len(history) > 4
    assert_exact(app.spend(thread()), provider, CAP)
    assert_landed(app, provider)
print("landed")
"""


def test_checkpoints_stay_readable_where_only_known_types_may_be(tmp_path: Path) -> None:
    """A refusal is written into the checkpoint; strict msgpack must be able to read it back."""
    strict = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONPATH": os.pathsep.join(["src", "."])}
    done = subprocess.run([sys.executable, "-c", STRICT], env=strict, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "landed", done.stderr
    assert "Deserializing unregistered type" not in done.stderr


def test_leaving_a_stream_stops_the_run_and_leaves_nothing_held(provider: LocalProvider) -> None:
    app = endless(provider)
    for _ in app.stream(START_STATE, thread(), stream_mode="updates"):
        break
    report = app.spend(thread())
    assert report.in_flight == 0
    assert report.cost_nanos == provider.bill_nanos
    assert len(provider.requests) < 4


def test_leaving_an_asynchronous_stream_stops_the_run_and_leaves_nothing_held(provider: LocalProvider) -> None:
    async def leave(app: Any) -> None:
        steps = app.astream(START_STATE, thread(), stream_mode="updates")
        async for _ in steps:
            break
        await steps.aclose()

    app = endless(provider)
    asyncio.run(leave(app))
    report = app.spend(thread())
    assert report.in_flight == 0
    assert report.cost_nanos == provider.bill_nanos
    assert len(provider.requests) < 4


def test_governing_shows_neither_in_the_drawing_nor_in_the_class(provider: LocalProvider) -> None:
    app = endless(provider)
    assert type(app).__name__ == "CompiledStateGraph"
    assert "work" in app.get_graph().draw_mermaid()
