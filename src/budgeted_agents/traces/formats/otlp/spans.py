"""A span as a call: one mapper for every convention. It runs for each span, so it only looks at what is there."""

from __future__ import annotations

from decimal import Decimal

import msgspec  # noqa: TC002 -- the type of an argument that callers pass on

from budgeted_agents.errors import InvalidAmount, InvalidUsage
from budgeted_agents.traces.call import (
    CACHE_TTL_UNKNOWN,
    ESTIMATED,
    MAY_BE_SUM,
    NO_USAGE,
    NO_USAGE_RECORDED,
    TracedCall,
)
from budgeted_agents.traces.formats.otlp.conversations import Conversations
from budgeted_agents.traces.formats.otlp.layouts import Layout, Layouts
from budgeted_agents.traces.formats.otlp.metadata import add_metadata
from budgeted_agents.traces.formats.otlp.names import NO_CALL, SUM, Role
from budgeted_agents.traces.formats.otlp.numbers import END_OF_TIME, cost_of, count_of
from budgeted_agents.traces.formats.otlp.resources import Resources
from budgeted_agents.traces.formats.otlp.roles import role_of
from budgeted_agents.traces.formats.otlp.shapes import Attribute, Found, Span, Value, text_of
from budgeted_agents.traces.formats.otlp.unit_prices import UnitPrices
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.values import fingerprint
from budgeted_agents.usage import MAX_TOKENS, Usage

_RESPONSE_ID = "resp_"
"""How a response's id begins. Some frameworks give it as the conversation's, which changes with every call then."""

_GEMINI = "gemini"

_NO_MODEL = frozenset({"", "none", "None", "unknown"})
"""What a span says where it does not know which model answered: the one that was asked for is taken then."""

Counted = dict[str, int]

Tokens = tuple[int, int]
"""Of the input and of the output."""


class SpanMapper:
    """Turns spans into calls.

    Args:
        problems: where it says what it could not read.
        conversations: is told the sessions that spans name, also those that are no calls, and whether there are records
            of ours.
    """

    def __init__(self, problems: Problems, conversations: Conversations) -> None:
        self._problems = problems
        self._conversations = conversations
        self._layouts = Layouts()
        self._resources = Resources()
        self._unit_prices = UnitPrices(problems)
        self._nameless = 0

    def call_of(self, span: Span, scope: str, resource: msgspec.Raw, line: int) -> TracedCall | None:
        """The call that a span tells of; None if it tells of none, or of one that cannot be read.

        Args:
            span: the span.
            scope: the name of the instrumentation that wrote it.
            resource: its resource, as it stands in the file.
            line: its line, for messages.
        """
        attributes = span.attributes
        at = self._layouts.of(attributes)
        try:
            usage = _usage(attributes, at)
        except InvalidUsage as error:
            self._problems.skip(f"{error.field}: {error.problem}; the span is skipped", line)
            return None
        session = _session(attributes, at)
        if session and span.trace_id not in self._conversations.sessions:
            self._conversations.sessions[span.trace_id] = session
        role = role_of(attributes, at, scope, has_usage=usage is not None)
        if not role:
            return None
        call = self._call(span, at, usage or NO_USAGE, session, resource, line)
        if role != "model" or usage is None or at.is_odd:
            _tell_apart(call, span, role, at)
            if call.is_ours:
                self._conversations.has_ours = True
                call.logged_price = self._unit_prices.of(attributes, at, call.model, line) if role == "model" else None
        if at.has_rare or span.status.code:
            self._add_rare(call, span, at.found(attributes))
        if at.has_metadata:
            add_metadata(call, attributes[at.positions["metadata"]].value)
        return call

    def _call(self, span: Span, at: Layout, usage: Usage, session: str, resource: msgspec.Raw, line: int) -> TracedCall:
        """What every call has."""
        attributes, trace = span.attributes, span.trace_id
        started, ended = self._times(span, line)
        asked, provider, node = (
            attributes[at.model_asked].value,
            attributes[at.provider].value,
            attributes[at.node].value,
        )
        model = text_of(attributes[at.model].value)
        if model in _NO_MODEL:
            model = text_of(asked)
        name = f"{trace}/{span.span_id}" if span.span_id else self._name(line)
        return TracedCall(
            id=name,
            session=session or trace or name,
            trace=trace,
            span=span.span_id,
            parent=span.parent_span_id,
            model=model,
            model_asked=asked.string_value or text_of(asked),
            provider=provider.string_value or text_of(provider),
            usage=usage,
            started_at=started,
            ended_at=ended,
            node=node.string_value or text_of(node),
            attribution=self._resources.attribution(resource, attributes, at),
            line=line,
        )

    def _add_rare(self, call: TracedCall, span: Span, found: Found) -> None:
        """What few calls have."""
        if "cost" in found:
            call.recorded_cost = self._cost(found["cost"], call.line)
        if "service_tier" in found:
            call.service_tier = text_of(found["service_tier"])
        if "region" in found:
            call.region = text_of(found["region"])
        call.error = _text(found.get("error")) or ("error" if span.status.is_error else "")

    def _times(self, span: Span, line: int) -> tuple[float, float]:
        """When it started and ended, in seconds since the epoch; 0 where that is unknown."""
        started, ended = span.start_time_unix_nano, span.end_time_unix_nano
        if 0 < started <= ended < END_OF_TIME:
            return started / 1e9, ended / 1e9
        if not (0 <= started < END_OF_TIME and 0 <= ended < END_OF_TIME):
            self._problems.warn("the span's times are nonsense; they count as unknown", line)
            return 0.0, 0.0
        if ended:
            self._problems.warn("the span ends before it starts; it counts as ending at once", line)
        return started / 1e9, started / 1e9

    def _cost(self, value: Value, line: int) -> Decimal | None:
        plain = value.plain()
        try:
            return None if plain is None else cost_of(plain)
        except InvalidAmount as error:
            self._problems.warn(f"the recorded cost {error.problem}; it counts as not recorded", line)
            return None

    def _name(self, line: int) -> str:
        """A name for a span without an id, so that it is at least counted."""
        self._nameless += 1
        self._problems.warn("the span has no id, so that it is counted again wherever it is repeated", line)
        return f"{self._problems.path}:{line}:{self._nameless}"


class TokenUsers:
    """Tells which spans are calls that used tokens, or sums of some."""

    def __init__(self) -> None:
        self._layouts = Layouts()

    def tokens(self, span: Span, scope: str) -> Tokens | None:
        """The tokens of such a span; None if it is none. They are as written, since what a sum leaves out of its
        figures, such as the tokens that were cached, must not make it a call of its own."""
        at = self._layouts.of(span.attributes)
        try:
            counted = _counted(span.attributes, at)
        except InvalidUsage:
            return None
        if not counted or role_of(span.attributes, at, scope, has_usage=True) == NO_CALL:
            return None
        return counted.get("prompt", 0), counted.get("completion", 0)


def _usage(attributes: list[Attribute], at: Layout) -> Usage | None:
    """The tokens of a span; None if it counts none.

    Raises:
        InvalidUsage: a count is none.
    """
    if at.is_usual and (usual := _usual(attributes, at)) is not None:
        return usual
    counted = _counted(attributes, at)
    if counted.get("total") and any(_GEMINI in text_of(attributes[each].value) for each in (at.model, at.model_asked)):
        _find_thoughts(counted)
    return Usage.from_totals(counted) if counted else None


def _find_thoughts(counted: Counted) -> None:
    """Count what Gemini thought, where it is only in the total, as OpenLLMetry writes it. No other tokens make
    such a gap, except for what Google's own tools bring into the prompt, which cannot be told from it."""
    beside = counted["total"] - counted.get("prompt", 0) - counted.get("completion", 0)
    if beside > 0 and beside != counted.get("cache_read") and not counted.get("reasoning"):
        counted["reasoning_beside"] = beside


def _usual(attributes: list[Attribute], at: Layout) -> Usage | None:
    """The same where a span counts what most do, and soundly: in a third of the time."""
    prompt = attributes[at.prompt].value.int_value
    completion = attributes[at.completion].value.int_value
    cached = attributes[at.cache_read].value.int_value
    if prompt is None or completion is None or cached is None:
        return None
    is_sound = 0 <= cached <= prompt <= MAX_TOKENS and 0 <= completion <= MAX_TOKENS
    return Usage(prompt - cached, cached, output=completion) if is_sound else None


def _counted(attributes: list[Attribute], at: Layout) -> Counted:
    """The token counts among the attributes.

    Raises:
        InvalidUsage: one of them is no token count.
    """
    counted: Counted = {}
    for meaning, position in at.counts:
        value = attributes[position].value
        tokens = value.int_value
        if tokens is None or not 0 <= tokens <= MAX_TOKENS:
            tokens = count_of(value, meaning)
        counted[meaning] = tokens
    return counted


def _tell_apart(call: TracedCall, span: Span, role: Role, at: Layout) -> None:
    """What is different about a call that is not just a model's answer with its usage."""
    found = at.found(span.attributes)
    if role == "tool":
        call.kind = role
        call.tool = _text(found.get("tool")) or span.name
        if (arguments := found.get("arguments")) is not None:
            call.fingerprint = fingerprint(arguments.plain())
    elif role == "embedding":
        call.kind = role
    if "reservation" in found:
        call.id, call.is_ours = text_of(found["reservation"]), True
    call.flags = tuple(_flags(role, found, _counted(span.attributes, at)))


def _flags(role: Role, found: Found, counted: Counted) -> list[str]:
    is_ours = "reservation" in found
    flags = {
        MAY_BE_SUM: role == SUM,
        NO_USAGE_RECORDED: not counted and role != "tool",
        CACHE_TTL_UNKNOWN: not is_ours and counted.get("cache_write", 0) > 0,
        ESTIMATED: _text(found.get("outcome")) == "presumed" or "estimated" in _text(found.get("flags")),
    }
    return [flag for flag, is_true in flags.items() if is_true]


def _session(attributes: list[Attribute], at: Layout) -> str:
    conversation = text_of(attributes[at.conversation].value)
    if conversation and not conversation.startswith(_RESPONSE_ID):
        return conversation
    return text_of(attributes[at.session].value)


def _text(value: Value | None) -> str:
    return "" if value is None else text_of(value)
