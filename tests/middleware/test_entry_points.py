"""Every way of running an agent goes through its ``BudgetMiddleware``, and every one lands with an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from budgeted_agents import Budget
from budgeted_agents.testing import LocalProvider
from tests.middleware.support import (
    ASK,
    LANDED,
    assert_complete,
    assert_within,
    endless_agent,
    looks_up_forever,
    serving,
    thread,
)

BUDGET = Budget(usd="0.05", model_calls=4, max_wait=0)
"""Three calls and a landing."""


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(looks_up_forever) as running:
        yield running


async def collected(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


def assert_landed(guard: Any, provider: LocalProvider, session: str = "t1") -> None:
    report = guard.spend(thread(session))
    assert report.landing == "Landed by the default finalizer"
    assert len(report.model_calls) == 4
    assert len(report.refusals) == 1
    assert_within(report, provider)


RUNS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda app: app.invoke(ASK, thread()),
    "ainvoke": lambda app: asyncio.run(app.ainvoke(ASK, thread())),
    "batch": lambda app: app.batch([ASK], [thread()])[0],
    "abatch": lambda app: asyncio.run(app.abatch([ASK], [thread()]))[0],
    "stream values": lambda app: list(app.stream(ASK, thread(), stream_mode="values"))[-1],
    "astream values": lambda app: asyncio.run(collected(app.astream(ASK, thread(), stream_mode="values")))[-1],
    "with_config": lambda app: app.with_config(tags=["x"]).invoke(ASK, thread()),
    "with_retry": lambda app: app.with_retry().invoke(ASK, thread()),
}


@pytest.mark.parametrize("way", RUNS)
@pytest.mark.parametrize("saver", ["none", "memory", "sqlite"])
@pytest.mark.parametrize("ledger", ["memory", "sqlite"])
def test_every_entry_point_lands(way: str, saver: str, ledger: str, provider: LocalProvider, tmp_path: Path) -> None:
    url = "memory://" if ledger == "memory" else f"sqlite:///{tmp_path / 'spend.db'}"
    if saver == "sqlite" and "a" not in way[:1]:
        with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as checkpointer:
            app, guard = endless_agent(provider, BUDGET, ledger=url, checkpointer=checkpointer)
            state = RUNS[way](app)
    else:
        app, guard = endless_agent(
            provider, BUDGET, ledger=url, checkpointer=InMemorySaver() if saver != "none" else None
        )
        state = RUNS[way](app)
    assert state["messages"][-1].text == LANDED
    assert_complete(state["messages"])
    assert_landed(guard, provider)
    guard.meter.ledger.close()


MODES: list[Any] = ["values", "updates", "messages", "custom", "debug", "tasks", "checkpoints", ["values", "updates"]]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("is_async", [False, True])
def test_every_stream_mode_lands(mode: Any, is_async: bool, provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, BUDGET, checkpointer=InMemorySaver())
    if is_async:
        chunks = asyncio.run(collected(app.astream(ASK, thread(), stream_mode=mode)))
    else:
        chunks = list(app.stream(ASK, thread(), stream_mode=mode))
    assert (LANDED.split()[-1] in str(chunks)) == (mode != "custom")
    assert_landed(guard, provider)


@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_events_land(version: Any, provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, BUDGET)
    events = asyncio.run(collected(app.astream_events(ASK, thread(), version=version)))
    assert "on_chat_model_end" in {event["event"] for event in events}
    assert_landed(guard, provider)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_protocol_events_land(provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, BUDGET)
    assert app.stream_events(ASK, thread(), version="v3").output["messages"][-1].text == LANDED
    assert_landed(guard, provider)


def test_runs_without_a_thread_are_sessions_of_their_own(provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, BUDGET)
    for number in (1, 2):
        app.invoke(ASK)
        assert len(guard.spend().model_calls) == 4
        assert len(provider.requests) == 4 * number


def test_parallel_runs_each_have_a_budget_of_their_own(provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, BUDGET)
    app.batch([ASK] * 5, [thread(f"t{number}") for number in range(5)])
    reports = [guard.spend(thread(f"t{number}")) for number in range(5)]
    assert [len(report.model_calls) for report in reports] == [4] * 5
    assert sum(report.cost_nanos for report in reports) == provider.bill_nanos


def test_nothing_of_the_budget_shows_in_the_state(provider: LocalProvider) -> None:
    app, _ = endless_agent(provider, BUDGET, checkpointer=InMemorySaver())
    state = app.invoke(ASK, thread())
    assert set(state) == {"messages"}
    assert set(app.get_state(thread()).values) == {"messages"}
    for part in (app.get_input_jsonschema(), app.get_output_jsonschema()):
        assert "budget" not in str(part)


def test_leaving_a_stream_stops_the_run_and_leaves_nothing_held(provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, BUDGET)
    for _ in app.stream(ASK, thread(), stream_mode="updates"):
        break
    report = guard.spend(thread())
    assert_within(report, provider)
    assert len(provider.requests) < 4
