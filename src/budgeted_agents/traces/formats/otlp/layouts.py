"""Where a span's attributes stand. Spans of one instrumentation have the same ones in the same order, so what each of
them means is looked up once for all such spans and not again for each: half of a mapper's time went there."""

from __future__ import annotations

import msgspec

from budgeted_agents.traces.formats.otlp.names import COUNTS, MEANING, RANK
from budgeted_agents.traces.formats.otlp.shapes import Attribute, Found, Value

_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
"""Attributes of a span above which its layout is made for it alone."""

_ABSENT = Attribute("", Value(string_value="", int_value=0))
"""Stands behind the attributes of a span, where everything is that it does not say: an empty text, a count of 0."""

_TOLD_ELSEWHERE = frozenset({"span_kind", "sdk_operation"})
"""What tells more of a span than its operation does."""

_RARE = frozenset({"cost", "service_tier", "region", "error"})
_ODD = frozenset({"cache_write", "reservation"})
_IN_METADATA = frozenset({"node", "tenant"})
_USUAL = frozenset({"prompt", "completion", "cache_read"})
"""What most spans count."""


class Layout(msgspec.Struct, frozen=True):
    """Positions of attributes by what they mean; of several that mean the same, that of the one to be believed.

    Attributes:
        keys: the names of all attributes.
        positions: by meaning, without what is absent.
        absent: the position of what is absent.
        counts: meanings and positions of token counts.
        is_usual: whether there are some, and no others than most spans have.
        prompt, completion, cache_read: positions of those.
        is_told: whether the operation tells what a span is, if it is a known one.
        has_rare: whether there is anything that few calls have.
        is_odd: whether there is anything that makes a call another than it seems.
        has_metadata: whether metadata may say what no attribute does.
        operation, ..., environment: positions of what is read from nearly every call; `absent` if it is.
    """

    keys: list[str]
    positions: dict[str, int]
    absent: int
    counts: tuple[tuple[str, int], ...]
    is_usual: bool
    prompt: int
    completion: int
    cache_read: int
    is_told: bool
    has_rare: bool
    is_odd: bool
    has_metadata: bool
    operation: int
    provider: int
    model: int
    model_asked: int
    conversation: int
    session: int
    node: int
    tenant: int
    user: int
    workflow: int
    feature: int
    environment: int

    @classmethod
    def of(cls, keys: list[str]) -> Layout:
        """The layout of spans with these attributes."""
        positions: dict[str, int] = {}
        for position, key in enumerate(keys):
            meaning = MEANING.get(key)
            if meaning is not None:
                known = positions.get(meaning)
                if known is None or RANK[key] < RANK[keys[known]]:
                    positions[meaning] = position
        counts = {name: position for name, position in positions.items() if name in COUNTS}
        return cls(
            keys,
            positions,
            len(keys),
            tuple(counts.items()),
            bool(counts) and counts.keys() <= _USUAL,
            positions.get("prompt", len(keys)),
            positions.get("completion", len(keys)),
            positions.get("cache_read", len(keys)),
            positions.keys().isdisjoint(_TOLD_ELSEWHERE),
            not positions.keys().isdisjoint(_RARE),
            not positions.keys().isdisjoint(_ODD),
            "metadata" in positions and not positions.keys() >= _IN_METADATA,
            *(positions.get(name, len(keys)) for name in cls.__struct_fields__[-_OFTEN_READ:]),
        )

    def found(self, attributes: list[Attribute]) -> Found:
        """A span's attributes by what they mean."""
        return {meaning: attributes[position].value for meaning, position in self.positions.items()}


_OFTEN_READ = len(Layout.__struct_fields__) - Layout.__struct_fields__.index("operation")


class Layouts:
    """Layouts of spans, the last one first."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Layout] = {}
        self._last = Layout.of([])

    def of(self, attributes: list[Attribute]) -> Layout:
        """The layout of a span. What it does not say is put behind its attributes, so that everything is somewhere."""
        keys = [each.key for each in attributes]
        attributes.append(_ABSENT)
        if keys != self._last.keys:
            self._last = self._known.get(tuple(keys)) or self._remember(keys)
        return self._last

    def _remember(self, keys: list[str]) -> Layout:
        layout = Layout.of(keys)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        if len(keys) <= _LONGEST_REMEMBERED:
            self._known[tuple(keys)] = layout
        return layout
