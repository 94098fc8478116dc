"""Where in the user's code something happened."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import sysconfig
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_NOT_THE_USERS = (*_LIBRARIES, _OURS, "<")

_PATIENCE = 1.0
"""Seconds to wait for a loop that is busy; then the place is not known."""


def frames_here(skip: int = 1) -> list[FrameType]:
    """The frames of this thread, innermost first."""
    frame: FrameType | None = sys._getframe(skip)
    found = []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


def frames_of_tasks(loop: asyncio.AbstractEventLoop | None) -> list[list[FrameType]]:
    """For each task of a loop in another thread the frames it waits in, innermost first: a name is looked up in a
    thread of its own, whose frames do not say who asked."""
    if loop is None or _runs_here(loop):
        return []
    found: list[list[FrameType]] = []
    done = threading.Event()

    def look() -> None:  # called by the loop itself, so that every task is at rest
        found.extend(map(_frames_of, asyncio.all_tasks(loop)))
        done.set()

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(look)
        done.wait(_PATIENCE)
    return list(found)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _frames_of(task: asyncio.Task[Any]) -> list[FrameType]:
    frames: list[FrameType] = []
    waiting: Any = task.get_coro()
    while waiting is not None and getattr(waiting, "cr_frame", None) is not None:
        frames.append(waiting.cr_frame)
        waiting = waiting.cr_await
    return frames[::-1]


def users_place(frames: Sequence[FrameType]) -> str:
    """The innermost place in code that is neither a library's nor ours: ``file:line in function``; else empty."""
    for frame in frames:
        file = frame.f_code.co_filename
        if not file.startswith(_NOT_THE_USERS):
            return f"{_short(file)}:{frame.f_lineno} in {frame.f_code.co_name}"
    return ""


def packages(frames: Sequence[FrameType]) -> list[str]:
    """The modules the frames belong to, innermost first."""
    return [str(frame.f_globals.get("__name__", "")) for frame in frames]


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
