"""Which spans only repeat what the calls below them used. It takes a second look at their traces, whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from budgeted_agents.traces.call import MAY_BE_SUM, TracedCall
from budgeted_agents.traces.formats.otlp.shapes import Located
from budgeted_agents.traces.formats.otlp.spans import TokenUsers
from budgeted_agents.traces.problems import Problems

Key = tuple[str, str]
"""Names a span: its trace's id and its own."""


def without_sums(suspects: list[TracedCall], spans: Iterable[Located], problems: Problems) -> Iterator[TracedCall]:
    """The suspects that no call stands below.

    Args:
        suspects: calls whose figures may be sums.
        spans: all spans of their file.
        problems: where it says that parents run in a circle; such a suspect counts.
    """
    with problems.said_before():
        parents, using = _links(spans, {call.trace for call in suspects})
    covered, circles = _ancestors(using, parents), _circles(parents)
    for call in suspects:
        key = (call.trace, call.span)
        if key in circles:
            problems.warn("the span is its own ancestor; it counts as no sum", call.line)
        if key not in covered or key in circles:
            flags = tuple(flag for flag in call.flags if flag != MAY_BE_SUM)
            yield msgspec.structs.replace(call, flags=flags)


def _links(spans: Iterable[Located], traces: set[str]) -> tuple[dict[Key, Key], list[Key]]:
    """The parents of the spans of some traces, and which of the spans used tokens."""
    parents: dict[Key, Key] = {}
    using: list[Key] = []
    users = TokenUsers()
    for span, scope, _, _ in spans:
        if span.trace_id in traces:
            key = (span.trace_id, span.span_id)
            if span.parent_span_id:
                parents[key] = (span.trace_id, span.parent_span_id)
            if users.has(span, scope):
                using.append(key)
    return parents, using


def _ancestors(keys: Iterable[Key], parents: dict[Key, Key]) -> set[Key]:
    """Everything that stands above one of the spans."""
    above: set[Key] = set()
    for key in keys:
        parent = parents.get(key)
        while parent is not None and parent not in above and parent != key:
            above.add(parent)
            parent = parents.get(parent)
    return above


def _circles(parents: dict[Key, Key]) -> set[Key]:
    """Spans that are their own ancestors."""
    found: set[Key] = set()
    passed: set[Key] = set()
    for start in parents:
        path: dict[Key, None] = {}
        key: Key | None = start
        while key is not None and key not in passed:
            passed.add(key)
            path[key] = None
            key = parents.get(key)
        if key in path:
            way = list(path)
            found.update(way[way.index(key) :])
    return found
