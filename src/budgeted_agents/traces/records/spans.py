"""Spans in OTLP JSON: one for each call, event and top-up, and the same read back. Pure.

A line is a whole ``ExportTraceServiceRequest``, as the OTLP file format wants it, with one span in it. Spans of one run
share a trace: that of the user's own span around them, else one named after the run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from budgeted_agents.traces.records import attributes as otel
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.event import BudgetEvent
from budgeted_agents.traces.records.record import CallRecord
from budgeted_agents.traces.records.recorder import Recorded, ToppedUp

SCOPE = "budgeted_agents"
NANOSECONDS = 1_000_000_000
"""In one second."""

_INTERNAL, _CLIENT = 1, 3
_ERROR = 2
OPENING = b'{"resourceSpans":['
"""How a line begins; nothing else in it looks like that."""

_HEAD = OPENING + (
    b'{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"%s"}}]},'
    b'"scopeSpans":[{"scope":{"name":"%s"},"spans":['
)
_TAIL = b"]}]}]}\n"
_IS_ID = re.compile("[0-9a-f]{32}").fullmatch
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def to_line(recorded: Recorded, service: str = SCOPE, content: Content | None = None) -> bytes:
    """One line of an OTLP JSON file, its end included.

    Args:
        recorded: the call, event or top-up.
        service: the ``service.name`` of the resource; short ASCII text without quotes.
        content: what the call says, if this is to be kept.

    Raises:
        TypeError: it has text that is no Unicode (half a character).
    """
    span, attributes = _call(recorded) if isinstance(recorded, CallRecord) else _moment(recorded)
    if content is not None:
        attributes = {**attributes, **content.attributes}
    pairs = b",".join(
        [
            _repeated(name, value) if type(value) is str and name not in otel.UNIQUE else _pair(name, value)
            for name, value in attributes.items()
        ]
    )
    return b"".join((_head(service), orjson.dumps(span)[:-1], b',"attributes":[', pairs, b"]}", _TAIL))


@lru_cache(maxsize=16)
def _head(service: str) -> bytes:
    return _HEAD % (service.encode(), SCOPE.encode())


def _call(record: CallRecord) -> tuple[dict[str, Any], otel.Attributes]:
    around = _TRACEPARENT.fullmatch(record.parent)
    span: dict[str, Any] = {"traceId": around[1] if around else hex_id(record.run, 32)}
    span["spanId"] = hex_id(record.id, 16)
    if around:
        span["parentSpanId"], span["flags"] = around[2], int(around[3], 16)
    span["name"], span["kind"] = span_name(record), _INTERNAL if record.kind == "tool" else _CLIENT
    span["startTimeUnixNano"] = str(nanoseconds(record.started_at))
    span["endTimeUnixNano"] = str(nanoseconds(record.ended_at))
    if record.error:
        span["status"] = {"code": _ERROR}
    return span, otel.of_call(record)


def _moment(recorded: BudgetEvent | ToppedUp) -> tuple[dict[str, Any], otel.Attributes]:
    """The span of what takes no time."""
    if isinstance(recorded, BudgetEvent):
        attributes, at = otel.of_event(recorded), recorded.at
        trace, name = recorded.run or recorded.session, f"budget {recorded.kind}"
    else:
        attributes, at = otel.of_top_up(recorded), recorded.top_up.at
        trace, name = recorded.session, "budget top_up"
    span = {"traceId": hex_id(trace, 32), "spanId": hex_id(repr(recorded), 16), "name": name, "kind": _INTERNAL}
    return span | dict.fromkeys(("startTimeUnixNano", "endTimeUnixNano"), str(nanoseconds(at))), attributes


def span_name(record: CallRecord) -> str:
    """As the GenAI conventions name spans: the operation, and the model or tool."""
    return f"{otel.operation_of(record)} {record.tool or record.model_used}".rstrip()


def from_line(line: bytes) -> Iterator[Recorded]:
    """What of ours stands in one line of an OTLP JSON file; spans of others are passed over.

    Raises:
        ValueError: the line is no OTLP JSON, or a span of ours is damaged.
    """
    try:
        for resource in orjson.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                yield from filter(None, map(from_span, scope["spans"]))
    except (KeyError, TypeError, AttributeError, ArithmeticError, IndexError) as error:
        raise ValueError(f"is no OTLP JSON of ours ({type(error).__name__}: {error})") from None


def from_span(span: Mapping[str, Any]) -> Recorded | None:
    """The call, event or top-up that a span tells of; None if it is somebody else's span.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: it is damaged.
    """
    found = {pair["key"]: _plain(pair["value"]) for pair in span.get("attributes", ())}
    begun, ended = (int(span[name]) / NANOSECONDS for name in ("startTimeUnixNano", "endTimeUnixNano"))
    if otel.RESERVATION in found:
        return otel.call_of(found, begun, ended, _parent_of(span))
    if otel.EVENT in found:
        return otel.event_of(found, begun)
    if otel.TOP_UP in found:
        return otel.top_up_of(found, begun)
    return None


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds. The fraction is taken apart first: a float of the whole would lose 100 ns."""
    whole = int(seconds)
    return whole * NANOSECONDS + round((seconds - whole) * NANOSECONDS)


def hex_id(name: str, digits: int) -> str:
    """A trace's or span's id for a name of ours: the beginning of a name that is such an id, else of its hash."""
    if _IS_ID(name):
        return name[:digits]
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def _parent_of(span: Mapping[str, Any]) -> str:
    if not span.get("parentSpanId"):
        return ""
    return f"00-{span['traceId']}-{span['parentSpanId']}-{span.get('flags', 1) & 0xFF:02x}"


def _pair(name: str, value: Any) -> bytes:
    """An attribute in OTLP's JSON."""
    return b"%b%b}" % (_key(name), _value(value))


@lru_cache(maxsize=4_096)
def _repeated(name: str, text: str) -> bytes:
    """A text attribute; most are the same from call to call, and writing them is most of the work."""
    return _pair(name, text)


@lru_cache(maxsize=1_024)
def _key(name: str) -> bytes:
    return b'{"key":%b,"value":' % orjson.dumps(name)


def _value(value: Any) -> bytes:
    """A value with its type, as OTLP's JSON says it."""
    if type(value) is int:  # a 64-bit integer is a string in it
        return b'{"intValue":"%d"}' % value
    if type(value) is str:
        return b'{"stringValue":%b}' % orjson.dumps(value)
    if type(value) is bool:
        return b'{"boolValue":true}' if value else b'{"boolValue":false}'
    return b'{"arrayValue":{"values":[%b]}}' % b",".join(map(_value, value))


def _plain(value: Mapping[str, Any]) -> Any:
    (kind, found), *_ = value.items()
    if kind == "intValue":
        return int(found)
    if kind == "arrayValue":
        return [_plain(each) for each in found.get("values", ())]
    return found
