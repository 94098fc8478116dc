"""Steps: the order in which a call is conducted, written once and driven by sync and async code alike.

A conducting function is a generator. It yields what has to be done (a ``Pause``, a function that may wait for I/O, or
``Either`` of two ways to do it) and is sent the result; it never waits itself. ``drive`` runs it in this thread,
``adrive`` on an event loop. Both hand an interruption (cancellation, KeyboardInterrupt) to the generator, whose
clean-up steps are then run to the end.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds."""

    seconds: float

    def __call__(self) -> None:
        time.sleep(self.seconds)

    async def on_loop(self) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Either:
    """Something slow that a thread waits for in one way (``call``) and an event loop in another (``acall``)."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]

    def __call__(self) -> Any:
        return self.call()

    async def on_loop(self) -> Any:
        return await self.acall()


_SLOW = (Pause, Either)
"""Effects that an event loop performs in a way of their own."""

Effect = Callable[[], Any]
T = TypeVar("T")
Steps = Generator[Effect, Any, T]


def drive(steps: Steps[T], effect: Effect | None = None) -> T:
    """Conduct the steps in this thread; from an effect they have yielded already, if one is given."""
    try:
        if effect is None:
            effect = next(steps)
        while True:
            try:
                result = effect()
            except BaseException as error:  # noqa: BLE001 -- the generator decides; what it does not handle comes out
                effect = steps.throw(error)
            else:
                effect = steps.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def until_pause(steps: Steps[Any]) -> Pause:
    """Conduct the steps up to their next pause, for whoever keeps the time himself; called again to go on.

    Raises:
        StopIteration: they have ended; its value is their result.
    """
    effect = next(steps)
    while not isinstance(effect, Pause):
        try:
            result = effect()
        except BaseException as error:  # noqa: BLE001 -- as in drive
            effect = steps.throw(error)
        else:
            effect = steps.send(result)
    return effect


async def adrive(steps: Steps[T], *, blocking: bool) -> T:
    """Conduct the steps on the running event loop; what may block runs in a thread of our own."""
    try:
        effect = next(steps)
        while True:
            try:
                result = await _perform(effect, blocking)
            except GeneratorExit as error:
                # The loop dropped this coroutine, so nothing can be awaited any more: clean up in this thread.
                return drive(steps, steps.throw(error))
            except BaseException as error:  # noqa: BLE001 -- as above
                effect = steps.throw(error)
            else:
                effect = steps.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def _perform(effect: Effect, blocking: bool) -> Any:
    if isinstance(effect, _SLOW):
        return await effect.on_loop()
    if not blocking:
        return effect()
    context = contextvars.copy_context()
    work = asyncio.get_running_loop().run_in_executor(_threads(os.getpid()), context.run, effect)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # Money may be moving in that thread: let it finish, so that the clean-up knows what there is to clean up.
        while not work.done():
            await _finished(work)
        raise


async def _finished(work: asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        return  # cancelled again while finishing: the loop above goes on until the work is done


@cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Threads apart from the loop's default ones, which an application may all keep busy. A forked process has none of
    its parent's threads, so each process (by its id) gets its own."""
    return ThreadPoolExecutor(max_workers=8, thread_name_prefix="budgeted-agents-ledger")
