"""Recorded calls in the order of time, however their files have them, in bounded memory."""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from budgeted_agents.traces.audit.audit import END_OF_TIME
from budgeted_agents.traces.call import TracedCall

MOST_IN_MEMORY = 100_000
"""Calls that are sorted in memory, about 100 MB; beyond, sorted runs of so many wait in temporary files."""

_CHUNK = 500


class Timed(NamedTuple):
    """A call and when it began and ended, in seconds since the epoch; ``seq`` is its place in the input."""

    start: float
    seq: int
    end: float
    call: TracedCall


def in_time_order(calls: Iterable[TracedCall], most_in_memory: int = MOST_IN_MEMORY) -> Iterator[Timed]:
    """The calls by when they began; calls of one moment in the order given.

    A call without a time is taken as made when the session's call before it ended, in an instant. Names of sessions
    are kept in memory, calls are not, beyond ``most_in_memory``.
    """
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        recent: list[Timed] = []
        for timed in _timed(calls):
            recent.append(timed)
            if len(recent) >= most_in_memory:
                runs.append(_spilled(sorted(recent, key=_when), stack))
                recent = []
        recent.sort(key=_when)
        yield from heapq.merge(recent, *map(_reread, runs), key=_when) if runs else recent


def _timed(calls: Iterable[TracedCall]) -> Iterator[Timed]:
    latest: dict[str, float] = {}
    for seq, call in enumerate(calls):
        start, end = _moment(call.started_at), _moment(call.ended_at)
        start = start or end or latest.get(call.session, 0.0)
        end = max(start, end)
        latest[call.session] = end
        yield Timed(start, seq, end, call)


def _moment(seconds: float) -> float:
    """A time that a calendar has, else 0; false for NaN as well."""
    return seconds if 0 < seconds < END_OF_TIME else 0.0


def _when(timed: Timed) -> tuple[float, int]:
    return timed[:2]


def _spilled(run: list[Timed], stack: ExitStack) -> IO[bytes]:
    file = stack.enter_context(TemporaryFile())  # noqa: SIM115 -- the stack closes it, once all runs are merged
    for start in range(0, len(run), _CHUNK):
        pickle.dump(run[start : start + _CHUNK], file, pickle.HIGHEST_PROTOCOL)
    return file


def _reread(file: IO[bytes]) -> Iterator[Timed]:
    """What was written to the file by ``_spilled``; nobody else can write to it."""
    file.seek(0)
    while True:
        try:
            yield from pickle.load(file)
        except EOFError:
            return
