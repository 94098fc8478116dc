"""What a span is: a call, perhaps the sum of calls, or neither. Only calls count: what is above repeats them."""

from __future__ import annotations

from budgeted_agents.traces.formats.otlp.names import (
    NO_CALL,
    OPERATIONS,
    REQUEST_KINDS,
    SDK_CALLS,
    SPAN_KINDS,
    SUM,
    SUMMING_SCOPES,
    Role,
)
from budgeted_agents.traces.formats.otlp.shapes import Found, text_of


def role_of(found: Found, scope: str, *, has_usage: bool) -> Role:
    """What a span is, by what its attributes say of it, the most explicit first.

    Args:
        found: its attributes by meaning.
        scope: the instrumentation that wrote it.
        has_usage: whether it counts tokens.
    """
    if (kind := found.get("span_kind")) is not None:
        return SPAN_KINDS.get(text_of(kind).upper(), NO_CALL)
    if (call := found.get("sdk_operation")) is not None:
        return SDK_CALLS.get(text_of(call).rpartition(".")[2], NO_CALL)
    operation = found.get("operation")
    if operation is not None and (role := OPERATIONS.get(text_of(operation))) is not None:
        return role
    if (request := found.get("request_kind")) is not None:
        return REQUEST_KINDS.get(text_of(request), NO_CALL)
    if (entity := found.get("entity_kind")) is not None:
        return "tool" if text_of(entity) == "tool" else NO_CALL
    if "tool" in found:
        return "tool"
    return SUM if has_usage and scope not in SUMMING_SCOPES else NO_CALL
