"""What a span is: a call, perhaps the sum of calls, or neither. Only calls count: what is above repeats them."""

from __future__ import annotations

from budgeted_agents.traces.formats.otlp.layouts import Layout
from budgeted_agents.traces.formats.otlp.names import (
    CALLING_SCOPES,
    NO_CALL,
    OPERATIONS,
    REQUEST_KINDS,
    SDK_CALLS,
    SPAN_KINDS,
    SUM,
    SUMMING_SCOPES,
    Role,
)
from budgeted_agents.traces.formats.otlp.shapes import Attribute, Found, text_of


def role_of(attributes: list[Attribute], at: Layout, scope: str, *, has_usage: bool) -> Role:
    """What a span is.

    Args:
        attributes: its attributes.
        at: what they mean.
        scope: the instrumentation that wrote it.
        has_usage: whether it counts tokens.
    """
    role = OPERATIONS.get(attributes[at.operation].value.string_value or "") if at.is_told else None
    return _told(at.found(attributes), scope, has_usage) if role is None else role


def _told(found: Found, scope: str, has_usage: bool) -> Role:
    """What a span is by what its attributes say of it, the most explicit first."""
    if (kind := found.get("span_kind")) is not None:
        return SPAN_KINDS.get(text_of(kind).upper(), NO_CALL)
    if (call := found.get("sdk_operation")) is not None:
        return SDK_CALLS.get(text_of(call).rpartition(".")[2], NO_CALL)
    if (request := found.get("request_kind")) is not None and (role := REQUEST_KINDS.get(text_of(request))):
        return role
    if (entity := found.get("entity_kind")) is not None:
        return "tool" if text_of(entity) == "tool" else NO_CALL
    if "tool" in found:
        return "tool"
    if not has_usage or scope in SUMMING_SCOPES:
        return NO_CALL
    return "model" if scope in CALLING_SCOPES else SUM
