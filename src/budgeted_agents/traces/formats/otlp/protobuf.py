"""Spans out of protobuf: messages with their length before them, as the OpenTelemetry Collector's file exporter writes.

The exporter packs each message for itself if it is told to compress, JSON ones too, so a message may be any of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgspec

from budgeted_agents.traces.files.limits import MAX_LINE, unreadable
from budgeted_agents.traces.files.unpacking import ZSTD, within_ratio, zstd
from budgeted_agents.traces.formats.otlp.shapes import (
    Attribute,
    Resource,
    ResourceSpans,
    Scope,
    ScopeSpans,
    Span,
    Status,
    TracesData,
    Value,
)
from budgeted_agents.traces.sources import Source

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1 import trace_pb2

_LENGTH = 4
_FIRST_FIELD = b"\x0a"
"""How a ``TracesData`` begins that has any spans."""


def is_length_prefixed(head: bytes) -> bool:
    """Whether a file begins with the length of a message and the message."""
    size = int.from_bytes(head[:_LENGTH], "big")
    return 0 < size <= MAX_LINE and head.startswith((_FIRST_FIELD, ZSTD, b'{"resourceSpans"'), _LENGTH)


def messages(source: Source) -> Iterator[bytes]:
    """The messages of a file, unpacked: JSON or protobuf. One that is cut off at the end costs only itself.

    Raises:
        InvalidTrace: the file is damaged.
    """
    pending, start = b"", 0
    for block in source.blocks():
        pending, start = pending[start:] + block, 0
        while len(pending) - start >= _LENGTH:
            size = int.from_bytes(pending[start : start + _LENGTH], "big")
            if not 0 < size <= MAX_LINE:
                raise unreadable(f"is damaged (a message of {size:,} bytes)", source.path)
            if len(pending) - start - _LENGTH < size:
                break
            start += _LENGTH + size
            yield _unpacked(pending[start - size : start], source.path)
    if len(pending) > start:
        source.problems.skip("the last message is cut off; it is skipped")


def traces_data(message: bytes, path: str) -> TracesData:
    """The spans of one protobuf message.

    Raises:
        ValueError: it is none.
        InvalidTrace: opentelemetry-proto is not installed.
    """
    try:
        from opentelemetry.proto.trace.v1 import trace_pb2
    except ImportError:
        remedy = "Run: pip install 'budgeted-agents[replay]'"
        raise unreadable("is protobuf, which needs the package opentelemetry-proto", path, remedy) from None
    try:
        data = trace_pb2.TracesData.FromString(message)
    except _decode_error() as error:
        raise ValueError(str(error)) from None
    return TracesData([_resource_spans(each) for each in data.resource_spans])


def _decode_error() -> type[Exception]:
    """What protobuf raises, which has no type information."""
    error: type[Exception] = import_module("google.protobuf.message").DecodeError
    return error


def _unpacked(message: bytes, path: str) -> bytes:
    if not message.startswith(ZSTD):
        return message
    return b"".join(within_ratio(zstd(BytesIO(message), path), len(message), path))


def _resource_spans(each: trace_pb2.ResourceSpans) -> ResourceSpans:
    resource = msgspec.json.encode(Resource([_attribute(pair) for pair in each.resource.attributes]))
    return ResourceSpans([_scope_spans(scope) for scope in each.scope_spans], msgspec.Raw(resource))


def _scope_spans(each: trace_pb2.ScopeSpans) -> ScopeSpans:
    return ScopeSpans([_span(span) for span in each.spans], Scope(each.scope.name))


def _span(span: trace_pb2.Span) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        name=span.name,
        start_time_unix_nano=span.start_time_unix_nano,
        end_time_unix_nano=span.end_time_unix_nano,
        attributes=[_attribute(pair) for pair in span.attributes],
        status=Status(span.status.code),
    )


def _attribute(pair: KeyValue) -> Attribute:
    kind = pair.value.WhichOneof("value")
    if kind is None or kind == "bytes_value":
        return Attribute(pair.key, Value())
    found: Any = getattr(pair.value, kind)
    if kind in ("array_value", "kvlist_value"):
        return Attribute(pair.key, Value(string_value=str(found)))
    return Attribute(pair.key, Value(**{kind: found}))
