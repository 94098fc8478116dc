"""Steps are driven the same way in a thread and on an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from budgeted_agents.meter import Either, Pause, Steps, adrive, drive, until_pause

place: ContextVar[str] = ContextVar("place", default="nowhere")


def by_thread(steps: Steps[Any]) -> Any:
    return drive(steps)


def on_loop(steps: Steps[Any], *, blocking: bool = False) -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(adrive(steps, blocking=blocking))
    finally:
        loop.close()


def on_loop_with_threads(steps: Steps[Any]) -> Any:
    return on_loop(steps, blocking=True)


@pytest.fixture(params=[by_thread, on_loop, on_loop_with_threads], ids=lambda driver: driver.__name__)
def driver(request: pytest.FixtureRequest) -> Callable[[Steps[Any]], Any]:
    found: Callable[[Steps[Any]], Any] = request.param
    return found


def test_results_are_handed_back_and_the_value_comes_out(driver: Callable[[Steps[Any]], Any]) -> None:
    def steps() -> Steps[int]:
        first = yield lambda: 20
        nothing = yield Pause(0)
        assert nothing is None
        second = yield lambda: first + 1
        return int(second) * 2

    assert driver(steps()) == 42


def test_steps_that_ask_for_nothing_still_have_a_value(driver: Callable[[Steps[Any]], Any]) -> None:
    def steps() -> Steps[str]:
        return "done"
        yield Pause(0)

    assert driver(steps()) == "done"


def test_what_can_be_done_in_two_ways_is_done_in_the_drivers_own(driver: Callable[[Steps[Any]], Any]) -> None:
    async def awaited() -> str:
        await asyncio.sleep(0)
        return f"on a loop, {threading.current_thread().name}"

    def steps() -> Steps[str]:
        return str((yield Either(lambda: "in a thread", awaited)))

    in_place = f"on a loop, {threading.current_thread().name}"
    assert driver(steps()) == ("in a thread" if driver is by_thread else in_place)


def fails() -> None:
    raise LookupError("not there")


def test_a_failed_effect_is_the_steps_to_handle(driver: Callable[[Steps[Any]], Any]) -> None:
    def steps() -> Steps[str]:
        try:
            yield fails
        except LookupError as error:
            text = f"handled: {error}"
            return str((yield lambda: text))
        return "not handled"

    assert driver(steps()) == "handled: not there"


def test_what_the_steps_do_not_handle_comes_out(driver: Callable[[Steps[Any]], Any]) -> None:
    cleaned: list[str] = []

    def steps() -> Steps[None]:
        try:
            yield fails
        finally:
            yield lambda: cleaned.append("up")

    with pytest.raises(LookupError, match="not there"):
        driver(steps())
    assert cleaned == ["up"]


def test_effects_see_the_context_of_the_call(driver: Callable[[Steps[Any]], Any]) -> None:
    def steps() -> Steps[str]:
        return str((yield place.get))

    token = place.set("here")
    try:
        assert driver(steps()) == "here"
    finally:
        place.reset(token)


async def test_what_may_block_runs_apart_from_the_loop() -> None:
    def steps() -> Steps[str]:
        return str((yield lambda: threading.current_thread().name))

    assert (await adrive(steps(), blocking=True)).startswith("budgeted-agents-ledger")
    assert await adrive(steps(), blocking=False) == threading.main_thread().name


async def test_a_dropped_coroutine_cleans_up_in_its_thread() -> None:
    cleaned: list[str] = []

    def steps() -> Steps[None]:
        try:
            yield Pause(3600)
        finally:
            yield lambda: cleaned.append(threading.current_thread().name)

    for blocking in (False, True):
        waiting = adrive(steps(), blocking=blocking)
        waiting.send(None)
        waiting.close()
    assert cleaned == [threading.main_thread().name] * 2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_ledger_threads_of_its_own() -> None:
    def steps() -> Steps[int]:
        return int((yield os.getpid))

    assert on_loop_with_threads(steps()) == os.getpid()
    child = os.fork()
    if child == 0:  # only the exit code tells of the child
        os._exit(0 if on_loop_with_threads(steps()) == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_whoever_keeps_the_time_conducts_from_pause_to_pause() -> None:
    done: list[str] = []

    def steps() -> Steps[str]:
        yield lambda: done.append("first")
        answer = yield Pause(5)
        assert answer is None
        try:
            yield lambda: 1 / 0
        except ZeroDivisionError:
            yield Pause(7)
        return "end"

    running = steps()
    assert (until_pause(running), done) == (Pause(5), ["first"])
    assert until_pause(running) == Pause(7)
    with pytest.raises(StopIteration) as ended:
        until_pause(running)
    assert ended.value.value == "end"
