"""OTLP's JSON as types: only what it takes to sum tokens by session."""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, gc=False):
    stringValue: str | None = None  # noqa: N815
    intValue: int | None = None  # noqa: N815


class Pair(msgspec.Struct, gc=False):
    key: str
    value: Value


class Span(msgspec.Struct, gc=False):
    attributes: list[Pair]


class ScopeSpans(msgspec.Struct, gc=False):
    spans: list[Span]


class ResourceSpans(msgspec.Struct, gc=False):
    scopeSpans: list[ScopeSpans]  # noqa: N815


class TracesData(msgspec.Struct, gc=False):
    resourceSpans: list[ResourceSpans]  # noqa: N815


decode_line = msgspec.json.Decoder(TracesData, strict=False).decode
