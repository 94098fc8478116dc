"""A span as a call: one mapper for every convention."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from budgeted_agents.errors import InvalidAmount, InvalidUsage
from budgeted_agents.traces.call import (
    CACHE_TTL_UNKNOWN,
    ESTIMATED,
    MAY_BE_SUM,
    NO_USAGE,
    NO_USAGE_RECORDED,
    TracedCall,
)
from budgeted_agents.traces.formats.otlp.names import COUNT_OF, NO_CALL, RANK_OF, SUM, TEXT_OF, Role, Texts
from budgeted_agents.traces.formats.otlp.numbers import cost_of, count_of, seconds_of
from budgeted_agents.traces.formats.otlp.resources import Resources
from budgeted_agents.traces.formats.otlp.roles import role_of
from budgeted_agents.traces.formats.otlp.shapes import NO_STATUS, Attribute, Plain, Span
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.values import fingerprint
from budgeted_agents.usage import Usage

_RESPONSE_ID = "resp_"
"""How a response's id begins. Some frameworks give it as the conversation's, which changes with every call then."""

Found = dict[Texts, Plain]


class SpanMapper:
    """Turns spans into calls.

    Args:
        problems: where it says what it could not read.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._resources = Resources()
        self._nameless = 0

    def call_of(self, span: Span, scope: str, resource: msgspec.Raw, line: int) -> TracedCall | None:
        """The call that a span tells of; None if it tells of none, or of one that cannot be read.

        Args:
            span: the span.
            scope: the name of the instrumentation that wrote it.
            resource: its resource, as it stands in the file.
            line: its line, for messages.
        """
        found: Found = {}
        counts: dict[str, int] = {}
        try:
            _read(span.attributes, found, counts)
        except InvalidUsage as error:
            self._problems.skip(f"{error.field}: {error.problem}; the span is skipped", line)
            return None
        role = role_of(found, scope, has_usage=bool(counts))
        return self._call(span, role, found, counts, resource, line) if role else None

    def _call(
        self, span: Span, role: Role, found: Found, counts: dict[str, int], resource: msgspec.Raw, line: int
    ) -> TracedCall:
        get, trace = found.get, span.trace_id
        started, ended = self._times(span, line)
        model_asked = _text(get("model_asked"))
        name = _text(get("reservation")) or (f"{trace}/{span.span_id}" if span.span_id else self._name(line))
        call = TracedCall(
            id=name,
            session=_session(found) or trace or name,
            trace=trace,
            span=span.span_id,
            parent=span.parent_span_id,
            model=_text(get("model")) or model_asked,
            model_asked=model_asked,
            provider=_text(get("provider")),
            usage=Usage.from_totals(counts) if counts else NO_USAGE,
            started_at=started,
            ended_at=ended,
            node=_text(get("node")),
            attribution=self._resources.attribution(resource, found, span.attributes),
            flags=_flags(role, found, counts),
            line=line,
        )
        if role in ("tool", "embedding"):
            call.kind = role
        if call.kind == "tool":
            call.tool = _text(get("tool")) or span.name
            call.fingerprint = fingerprint(get("arguments")) if "arguments" in found else ""
        if "cost" in found:
            call.recorded_cost = self._cost(found["cost"], line)
        if "service_tier" in found:
            call.service_tier = _text(found["service_tier"])
        if "error" in found or (span.status is not NO_STATUS and span.status.is_error):
            call.error = _text(get("error")) or "error"
        return call

    def _times(self, span: Span, line: int) -> tuple[float, float]:
        """When it started and ended, in seconds since the epoch."""
        started, ended = seconds_of(span.start_time_unix_nano), seconds_of(span.end_time_unix_nano)
        if started is None or ended is None:
            self._problems.warn("the span's times are nonsense; they count as unknown", line)
            return 0.0, 0.0
        if ended < started and ended:
            self._problems.warn("the span ends before it starts; it counts as ending at once", line)
            ended = started
        return started, ended

    def _cost(self, value: Plain, line: int) -> Decimal | None:
        try:
            return None if value is None else cost_of(value)
        except InvalidAmount as error:
            self._problems.warn(f"the recorded cost {error.problem}; it counts as not recorded", line)
            return None

    def _name(self, line: int) -> str:
        """A name for a span without an id, so that it is at least counted."""
        self._nameless += 1
        self._problems.warn("the span has no id, so that it is counted again wherever it is repeated", line)
        return f"{self._problems.path}:{line}:{self._nameless}"


def uses_tokens(span: Span, scope: str) -> bool:
    """Whether a span is a call that used tokens, or the sum of some."""
    found: Found = {}
    counts: dict[str, int] = {}
    try:
        _read(span.attributes, found, counts)
    except InvalidUsage:
        return False
    return bool(counts) and role_of(found, scope, has_usage=True) != NO_CALL


def _read(attributes: list[Attribute], found: Found, counts: dict[str, int]) -> None:
    """Sort attributes by what they say.

    Raises:
        InvalidUsage: a token count is none.
    """
    for attribute in attributes:
        key = attribute.key
        if (slot := TEXT_OF.get(key)) is not None:
            if slot in found:
                attribute = _best(slot, attributes)
            value = attribute.value
            found[slot] = value.string_value if value.string_value is not None else value.plain()
        elif (count := COUNT_OF.get(key)) is not None:
            tokens = count_of(attribute.value, key)
            if tokens > counts.get(count, -1):
                counts[count] = tokens


def _best(slot: Texts, attributes: list[Attribute]) -> Attribute:
    """Of attributes that say the same thing, the one to be believed."""
    same = (attribute for attribute in attributes if TEXT_OF.get(attribute.key) == slot)
    return min(same, key=lambda attribute: RANK_OF[attribute.key])


def _text(value: Plain) -> str:
    return value if type(value) is str else "" if value is None else str(value)


def _session(found: Found) -> str:
    conversation = _text(found.get("conversation"))
    if conversation and not conversation.startswith(_RESPONSE_ID):
        return conversation
    return _text(found.get("session"))


def _flags(role: Role, found: Found, counts: dict[str, int]) -> tuple[str, ...]:
    flags: tuple[str, ...] = ()
    if role == SUM:
        flags += (MAY_BE_SUM,)
    if not counts and role != "tool":
        flags += (NO_USAGE_RECORDED,)
    if counts.get("cache_write") and "reservation" not in found:
        flags += (CACHE_TTL_UNKNOWN,)
    if found.get("outcome") == "presumed" or "estimated" in _text(found.get("flags")):
        flags += (ESTIMATED,)
    return flags
