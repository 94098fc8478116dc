"""Which spans only repeat what the calls below them used. It takes a second look at their traces, whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping

import msgspec

from budgeted_agents.traces.call import MAY_BE_SUM, TracedCall
from budgeted_agents.traces.formats.otlp.shapes import Located
from budgeted_agents.traces.formats.otlp.spans import Tokens, TokenUsers
from budgeted_agents.traces.problems import Problems

Key = tuple[str, str]
"""Names a span: its trace's id and its own."""


def without_sums(suspects: list[TracedCall], spans: Iterable[Located], problems: Problems) -> Iterator[TracedCall]:
    """The suspects whose tokens are not those of the calls below them. One without a model, which has no price, counts
    only if nothing below it does.

    Args:
        suspects: calls whose figures may be sums.
        spans: all spans of their file.
        problems: where it says that a suspect counts beside calls below it, or that parents run in a circle.
    """
    with problems.said_before():
        parents, used = _links(spans, {call.trace for call in suspects})
    nameless = {(call.trace, call.span) for call in suspects if not call.model}
    is_sum, circles = _sums(used, parents, nameless), _circles(parents)
    for call in suspects:
        key = (call.trace, call.span)
        if key in circles:
            problems.warn("the span is its own ancestor; it counts as no sum", call.line)
        elif key in is_sum and not is_sum[key]:
            problems.warn(
                "the span does not say what it is, and its tokens are not those of the calls below it; it counts too",
                call.line,
            )
        if not is_sum.get(key):
            flags = tuple(flag for flag in call.flags if flag != MAY_BE_SUM)
            yield msgspec.structs.replace(call, flags=flags)


def _links(spans: Iterable[Located], traces: set[str]) -> tuple[dict[Key, Key], dict[Key, Tokens]]:
    """The parents of the spans of some traces, and the tokens of those that used any."""
    parents: dict[Key, Key] = {}
    used: dict[Key, Tokens] = {}
    users = TokenUsers()
    for span, scope, _, _ in spans:
        if span.trace_id in traces:
            key = (span.trace_id, span.span_id)
            if span.parent_span_id:
                parents[key] = (span.trace_id, span.parent_span_id)
            tokens = users.tokens(span, scope)
            if tokens is not None:
                used[key] = tokens
    return parents, used


def _sums(used: Mapping[Key, Tokens], parents: Mapping[Key, Key], nameless: Container[Key]) -> dict[Key, bool]:
    """Of spans with tokens that have others below them: whether the tokens are only those of all calls below, together.

    From the leaves up: a call that another instrumentation wrote down too is one of these, and so counts once for
    whatever stands above it.
    """
    found: dict[Key, bool] = {}
    below: dict[Key, Tokens] = {}
    waits_for = Counter(parents.values())
    ready = [key for key in parents.keys() | used.keys() if key not in waits_for]
    while ready:
        key = ready.pop()
        own, others = used.get(key), below.get(key)
        if own is not None and others is not None:
            found[key] = own == others or key in nameless
        if own is not None and not found.get(key):
            below[key] = own if others is None else (own[0] + others[0], own[1] + others[1])
        parent = parents.get(key)
        if parent is None:
            continue
        if key in below:
            prompt, completion = below.get(parent, (0, 0))
            below[parent] = (prompt + below[key][0], completion + below[key][1])
        waits_for[parent] -= 1
        if not waits_for[parent]:
            ready.append(parent)
    return found


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
