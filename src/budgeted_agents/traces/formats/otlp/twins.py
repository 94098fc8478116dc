"""Calls that are in a file twice: as a record of ours, and as a span of another instrumentation that saw them too.

The two have neither parent nor, often, trace in common: a record of ours hangs below the span that was current, those
of a framework's callbacks below each other. They have the session, the time, the model and all counts of tokens. Of so
many records and spans that fit, one each is the same call, so that calls made at once are still all counted.
"""

from __future__ import annotations

from collections import defaultdict

from budgeted_agents.traces.call import RECORDED_TWICE, TracedCall

_Key = tuple[str, str, str, int, int]


def without_twins(calls: list[TracedCall]) -> list[TracedCall]:
    """The calls without those that records of ours tell of too. Such a record is flagged, and its twin is found."""
    others: defaultdict[_Key, list[TracedCall]] = defaultdict(list)
    for call in calls:
        if not call.is_ours:
            others[_key(call)].append(call)
    twins: set[int] = set()
    for call in calls if others else ():
        if not call.is_ours or RECORDED_TWICE in call.flags:
            continue
        alike = [other for other in others.get(_key(call), ()) if id(other) not in twins and _are_one(call, other)]
        if alike:
            twin = min(alike, key=lambda other: abs(other.ended_at - call.ended_at))
            twins.update(id(other) for other in alike if other is twin or _are_nested(other, twin))
            call.flags = (*call.flags, RECORDED_TWICE)
            call.fingerprint = call.fingerprint or twin.fingerprint
    return [call for call in calls if id(call) not in twins] if twins else calls


def _key(call: TracedCall) -> _Key:
    return (call.kind, call.session, call.tool, call.usage.prompt_tokens, call.usage.completion_tokens)


def _are_one(ours: TracedCall, other: TracedCall) -> bool:
    """Whether what they have in common besides their key makes them one call."""
    if ours.kind != "tool" and not (ours.usage.total_tokens and _names(ours) & _names(other)):
        return False
    shared = min(ours.ended_at, other.ended_at) - max(ours.started_at, other.started_at)
    shorter = min(ours.ended_at - ours.started_at, other.ended_at - other.started_at)
    return shared > 0 and 2 * shared >= shorter


def _names(call: TracedCall) -> set[str]:
    """What its model is called, without who serves it."""
    return {name.rpartition("/")[2] for name in (call.model, call.model_asked) if name}


def _are_nested(one: TracedCall, other: TracedCall) -> bool:
    """Whether one stands directly below the other: a framework's span of a call, and its client's."""
    return one.trace == other.trace and (one.parent == other.span or other.parent == one.span)
