"""Each call once, however often it was written: within a file, across files, and across processes.

A call may also be written twice under two names, of which one stands directly below the other in a trace. Of calls that
are read at once, `nested` tells whether two are one. Of those far apart, the first one read counts that says what it
cost.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import orjson

from budgeted_agents.traces.audit.nested import is_whole, repeats
from budgeted_agents.traces.call import MODEL_KINDS, TracedCall

_ABOVE = 0x2545F4914F6CDD1D
"""Tells the key of a span that has a call below it from the key of a call."""

_BLANK = 0x1B873593CC9E2D51
"""Tells the key of a call that does not say what it cost from the key of the same call where it does."""

_MOST_IN_MEMORY = 400_000
"""Keys above which they go into a temporary file. A key in memory takes about 70 bytes."""

_BATCH = 50_000
"""Keys that go to the file at once, as one JSON text: SQLite takes a text in half the time of as many values."""

_FILTER = 1 << 24
"""Bytes of the filter in front of the file (a power of 2): few keys that were not seen are looked for in the file."""


class Keys(NamedTuple):
    """What has to be compared with the calls of other parts of the input.

    Attributes:
        facts: what others have to know: the calls seen, and the spans that have calls below them, which say what they
            cost.
        questions: what others may know that would have changed an answer.
        are_last: this part has no more calls.
    """

    facts: array[int]
    questions: array[int]
    are_last: bool


Ask = Callable[[Keys], set[int]]
"""Tells which keys were seen before, in another part of the input or earlier in this. Asked in the input's order."""


class _Place(NamedTuple):
    """A call and its keys: of its id, of its span, and of the span above it. Only calls of models have the last two.

    The id's key of a call that does not say what it cost is another than that of the same call where it does.
    """

    call: TracedCall
    key: int
    span: int = 0
    parent: int = 0
    is_whole: bool = True

    @classmethod
    def of(cls, call: TracedCall) -> _Place:
        if call.kind not in MODEL_KINDS:
            return cls(call, ~hash(call.id))
        key, whole = hash(call.id), is_whole(call)
        return cls(call, key if whole else key ^ _BLANK, _span(call, key), _parent(call), whole)

    def is_known(self, known: Container[int]) -> bool:
        """Whether it, or a call directly above or below it, was seen elsewhere."""
        if self.key in known or self.span ^ _ABOVE in known or (self.parent in known and self.parent != self.span):
            return True
        return not self.is_whole and self.key ^ _BLANK in known


class Once:
    """Lets each call of a part of the input through once. What it saw can be compared with what others saw.

    Keys are hashes of names. Python salts them in each process, so all that compare have to use the same salt.

    Args:
        files: the calls of each file.
    """

    def __init__(self, files: Iterable[Sequence[TracedCall]]) -> None:
        self._keys: set[int] = set()
        self._parents: set[int] = set()
        self._questions: list[int] = []
        self._blank: list[_Place] = []
        self._is_nested = False
        self._files = [list(filter(self._is_first, calls)) for calls in files]

    def admitted(self, known: set[int]) -> list[list[TracedCall]]:
        """The calls of each file that count.

        Args:
            known: those of the keys that were seen elsewhere.
        """
        if not (known or self._has_nested()):
            return self._files
        files = [[_Place.of(call) for call in calls] for calls in self._files]
        repeating = _repeating(list(chain.from_iterable(files)))
        return [
            [place.call for place in places if place.key not in repeating and not place.is_known(known)]
            for places in files
        ]

    def keys(self, are_last: bool) -> Keys:
        """What it saw."""
        return Keys(
            facts=array("q", (*self._keys, *(parent ^ _ABOVE for parent in self._parents))),
            questions=array("q", (*self._keys, *self._parents, *self._questions)),
            are_last=are_last,
        )

    def _is_first(self, call: TracedCall) -> bool:
        """Whether this is the first time that a call is seen. Its keys are noted for others, who are told of a call's
        place only if it says what it cost."""
        keys, key = self._keys, hash(call.id)
        if call.kind != "model" and call.kind != "embedding":
            return self._is_new(~key)
        span = _span(call, key)
        parent = _parent(call)
        if not is_whole(call):
            self._blank.append(_Place(call, key ^ _BLANK, span, parent, is_whole=False))
            self._questions += (key, parent, span ^ _ABOVE)
            return self._is_new(key ^ _BLANK)
        if key in keys:
            return False
        if span in self._parents or parent in keys:
            self._is_nested = True
        keys.add(key)
        keys.add(span)
        self._questions.append(span ^ _ABOVE)
        if parent:
            self._parents.add(parent)
        return True

    def _has_nested(self) -> bool:
        """Whether some call stands directly below another, or was written again with what it cost."""
        blank = {place.span for place in self._blank}
        return self._is_nested or any(
            place.span in self._keys
            or place.span in self._parents
            or place.parent in self._keys
            or place.parent in blank
            for place in self._blank
        )

    def _is_new(self, key: int) -> bool:
        is_new = key not in self._keys
        self._keys.add(key)
        return is_new


def _span(call: TracedCall, key: int) -> int:
    """The key by which calls below name a call whose id has this key."""
    if call.id.startswith(call.trace) or call.is_ours or not call.span:
        return key
    return hash(f"{call.trace}/{call.span}")


def _parent(call: TracedCall) -> int:
    return hash(f"{call.trace}/{call.parent}") if call.parent and call.trace else 0


def _repeating(places: Sequence[_Place]) -> set[int]:
    """Keys of calls that only tell again of one directly above or below them, or of the same one that tells more."""
    spans: dict[int, _Place] = {}
    for place in places:
        if place.span and (place.is_whole or place.span not in spans):
            spans[place.span] = place
    found = {place.key for place in places if not place.is_whole and spans[place.span] is not place}
    below: dict[int, list[_Place]] = {}
    for place in spans.values():
        if place.parent in spans and place.parent != place.span:
            below.setdefault(place.parent, []).append(place)
    told_by: dict[int, int] = {}
    for span, children in below.items():
        for lost, kept in _told_again(spans[span], children):
            if lost.span not in told_by and _last(kept.span, told_by) != lost.span:  # of a circle, one stays
                told_by[lost.span] = kept.span
    return found | {spans[span].key for span in told_by}


def _told_again(parent: _Place, children: list[_Place]) -> list[tuple[_Place, _Place]]:
    """Those of a call and the ones directly below it of which another tells more, or as much; each with that one."""
    whole = [child for child in children if child.is_whole]
    if not parent.is_whole:
        return [(parent, whole[0])] if whole else [(child, parent) for child in children]
    found = [(child, parent) for child in children if not child.is_whole]
    if whole and repeats(parent.call, [child.call for child in whole]):
        found.append((parent, whole[0]))
    return found


def _last(span: int, told_by: dict[int, int]) -> int:
    """The span that tells of a call in the end. The way there is made shorter for whoever comes next."""
    while span in told_by:
        nearer = told_by[span]
        told_by[span] = told_by.get(nearer, nearer)
        span = nearer
    return span


def unseen(files: Sequence[Sequence[TracedCall]], ask: Ask, *, are_last: bool) -> list[list[TracedCall]]:
    """Of each file's calls those that count: that were seen neither among all of them nor elsewhere."""
    once = Once(files)
    return once.admitted(ask(once.keys(are_last)))


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
