"""OTLP's JSON as types, as far as an audit needs it; everything else is passed over undecoded.

OTLP writes 64-bit integers as text, so these are decoded with ``strict=False``, which reads numbers out of texts.
"""

from __future__ import annotations

import msgspec

Plain = str | int | float | bool | None


NONE = msgspec.Raw()


class Value(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """An attribute's value: the first of these that is there."""

    string_value: str | None = None
    int_value: int | None = None
    double_value: float | None = None
    bool_value: bool | None = None
    array_value: msgspec.Raw = NONE
    kvlist_value: msgspec.Raw = NONE

    def plain(self) -> Plain:
        """It as Python has it; several values as their JSON text."""
        if self.string_value is not None:
            return self.string_value
        if self.int_value is not None:
            return self.int_value
        if self.double_value is not None:
            return self.double_value
        return (bytes(self.array_value) or bytes(self.kvlist_value)).decode() or self.bool_value


Found = dict[str, Value]
"""Attributes by what they mean."""


def text_of(value: Value) -> str:
    """A value as text; empty if there is none."""
    text = value.string_value
    if text is not None:
        return text
    plain = value.plain()
    return "" if plain is None else str(plain)


class Attribute(msgspec.Struct, gc=False):
    """A name and a value."""

    key: str
    value: Value


class Status(msgspec.Struct, gc=False, frozen=True):
    """How a span ended: code 2 is an error."""

    code: int | str = 0

    @property
    def is_error(self) -> bool:
        return self.code in (2, "2", "STATUS_CODE_ERROR")


NO_STATUS = Status()


class Span(msgspec.Struct, gc=False, rename="camel"):
    """One span. Ids are opaque names; times are nanoseconds since the epoch."""

    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: list[Attribute] = []
    status: Status = NO_STATUS


class Scope(msgspec.Struct, gc=False, frozen=True):
    """The instrumentation that wrote the spans."""

    name: str = ""


NO_SCOPE = Scope()


class ScopeSpans(msgspec.Struct, gc=False):
    """Spans of one instrumentation."""

    spans: list[Span] = []
    scope: Scope = NO_SCOPE


class Resource(msgspec.Struct, gc=False):
    """What process the spans come from."""

    attributes: list[Attribute] = []


NOTHING = msgspec.Raw(b"{}")


class ResourceSpans(msgspec.Struct, gc=False, rename="camel"):
    """Spans of one process. Its resource is the same again and again, so it is decoded once."""

    scope_spans: list[ScopeSpans] = []
    resource: msgspec.Raw = NOTHING


class TracesData(msgspec.Struct, gc=False, rename="camel"):
    """An ``ExportTraceServiceRequest``: a line of an OTLP JSON file."""

    resource_spans: list[ResourceSpans]


Located = tuple[Span, str, msgspec.Raw, int]
"""A span, the name of the instrumentation that wrote it, its resource as it is written, and its line."""
