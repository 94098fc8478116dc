"""Each call once, however often it was written: within a file, across files, and across processes.

A call may be written twice under two names: once by the instrumentation of a framework and once by that of the client
below it. So of two model calls of which one stands directly below the other in a trace, the first one read counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson

from budgeted_agents.traces.call import TracedCall

_ABOVE = 0x2545F4914F6CDD1D
"""Tells the key of a span that has a call below it from the key of a call."""

_MOST_IN_MEMORY = 400_000
"""Keys above which they go into a temporary file. A key in memory takes about 70 bytes."""

_BATCH = 50_000
"""Keys that go to the file at once, as one JSON text: SQLite takes a text in half the time of as many values."""

_FILTER = 1 << 24
"""Bytes of the filter in front of the file (a power of 2): few keys that were not seen are looked for in the file."""


class Keys(NamedTuple):
    """What has to be compared with the calls of other parts of the input.

    Attributes:
        facts: what others have to know: the calls seen, and the spans that have calls below them.
        questions: what others may know that would have changed an answer.
        are_last: this part has no more calls.
    """

    facts: array[int]
    questions: array[int]
    are_last: bool


Ask = Callable[[Keys], set[int]]
"""Tells which keys were seen before, in another part of the input or earlier in this. Asked in the input's order."""


class Once:
    """Lets each call of a part of the input through once. What it saw can be compared with what others saw.

    Keys are hashes of names. Python salts them in each process, so all that compare have to use the same salt.

    Args:
        known: keys of calls that were seen elsewhere.
    """

    def __init__(self, known: Iterable[int] = ()) -> None:
        self._known = frozenset(known)
        self._keys: set[int] = set()
        self._models: list[int] = []
        self._parents: set[int] = set()

    def admits(self, call: TracedCall) -> bool:
        """Whether this is the first time that a call is seen, and no part of one that was."""
        key = hash(call.id)
        if call.kind != "model" and call.kind != "embedding":
            key = ~key
            is_new = key not in self._keys and key not in self._known
            self._keys.add(key)
            return is_new
        if key in self._keys or key in self._known:
            return False
        return self._is_no_part(call, key)

    def _is_no_part(self, call: TracedCall, key: int) -> bool:
        """Whether neither the span above it nor one below it counts already."""
        known, keys = self._known, self._keys
        keys.add(key)
        span = key
        if call.span and not call.id.startswith(call.trace) and not call.is_ours:
            span = hash(f"{call.trace}/{call.span}")
            keys.add(span)
        self._models.append(span)
        is_counted = span in self._parents or (span ^ _ABOVE) in known
        if call.parent and call.trace:
            parent = hash(f"{call.trace}/{call.parent}")
            self._parents.add(parent)
            is_counted = is_counted or (parent != span and (parent in keys or parent in known))
        return not is_counted

    def keys(self, are_last: bool) -> Keys:
        """What it saw."""
        return Keys(
            facts=array("q", (*self._keys, *(parent ^ _ABOVE for parent in self._parents))),
            questions=array("q", (*self._keys, *self._parents, *(span ^ _ABOVE for span in self._models))),
            are_last=are_last,
        )


def unseen(files: Sequence[Sequence[TracedCall]], ask: Ask, *, are_last: bool) -> list[list[TracedCall]]:
    """Of each file's calls those that count: that were seen neither among all of them nor elsewhere."""
    once = Once()
    counting = _admitted(files, once)
    if known := ask(once.keys(are_last)):
        counting = _admitted(files, Once(known))
    return counting


def _admitted(files: Sequence[Sequence[TracedCall]], once: Once) -> list[list[TracedCall]]:
    return [list(filter(once.admits, calls)) for calls in files]


class Seen:
    """Keys of everything seen: the newest in memory, the others in a temporary file. A context manager.

    Threads may share it if only one at a time asks it.
    """

    def __init__(self, most_in_memory: int = _MOST_IN_MEMORY) -> None:
        self._most = most_in_memory
        self._recent: set[int] = set()
        self._file: _File | None = None

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def take(self, keys: Keys) -> set[int]:
        """Which of the questions were seen before; the facts are from now on."""
        known = self._known(keys.questions)
        self._add(keys.facts)
        return known

    def _known(self, keys: array[int]) -> set[int]:
        found = set() if self._recent.isdisjoint(keys) else self._recent.intersection(keys)
        return found if self._file is None else found | self._file.known(keys)

    def _add(self, keys: array[int]) -> None:
        self._recent.update(keys)
        if len(self._recent) > self._most:
            self._file = self._file or _File()
            self._file.add(self._recent)
            self._recent = set()


class _File:
    """Keys in a temporary file, behind a filter in memory (Bloom's, with one bit a key) that tells most strangers."""

    def __init__(self) -> None:
        import sqlite3  # few need it

        self._marks = bytearray(_FILTER)
        self._keys = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._keys.execute("PRAGMA journal_mode = OFF")
        self._keys.execute("PRAGMA cache_size = -16000")
        self._keys.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY)")

    def close(self) -> None:
        """The file is deleted."""
        self._keys.close()

    def add(self, keys: set[int]) -> None:
        """Add keys."""
        marks = self._marks
        for key in keys:
            marks[key >> 3 & _FILTER - 1] |= 1 << (key & 7)
        for batch in _batches(keys):
            self._keys.execute("INSERT OR IGNORE INTO seen SELECT value FROM json_each(?)", (batch,))

    def known(self, keys: array[int]) -> set[int]:
        """Those of the keys that are in the file."""
        marks = self._marks
        marked = [key for key in keys if marks[key >> 3 & _FILTER - 1] >> (key & 7) & 1]
        find = "SELECT key FROM seen WHERE key IN (SELECT value FROM json_each(?))"
        return {key for batch in _batches(marked) for (key,) in self._keys.execute(find, (batch,))}


def _batches(keys: Iterable[int]) -> Iterator[str]:
    """Lists of keys as JSON, in order: neighbors stand together in the file."""
    ordered = sorted(keys)
    return (orjson.dumps(ordered[start : start + _BATCH]).decode() for start in range(0, len(ordered), _BATCH))
