"""What a span is: a call, perhaps the sum of calls, or neither. Only calls count: what is above repeats them."""

from __future__ import annotations

from collections.abc import Mapping

from budgeted_agents.traces.formats.otlp.names import (
    NO_CALL,
    OPERATIONS,
    REQUEST_KINDS,
    SDK_CALLS,
    SPAN_KINDS,
    SUM,
    SUMMING_SCOPES,
    Role,
    Texts,
)
from budgeted_agents.traces.formats.otlp.shapes import Plain


def role_of(found: Mapping[Texts, Plain], scope: str, *, has_usage: bool) -> Role:
    """What a span is, by what its attributes say of it, the most explicit first.

    Args:
        found: what its attributes say.
        scope: the instrumentation that wrote it.
        has_usage: whether it counts tokens.
    """
    if "span_kind" in found:
        return SPAN_KINDS.get(str(found["span_kind"]).upper(), NO_CALL)
    if "sdk_operation" in found:
        return SDK_CALLS.get(str(found["sdk_operation"]).rpartition(".")[2], NO_CALL)
    if "operation" in found and (role := OPERATIONS.get(str(found["operation"]))) is not None:
        return role
    if "request_kind" in found:
        return REQUEST_KINDS.get(str(found["request_kind"]), NO_CALL)
    if "entity_kind" in found:
        return "tool" if found["entity_kind"] == "tool" else NO_CALL
    if "tool" in found:
        return "tool"
    return SUM if has_usage and scope not in SUMMING_SCOPES else NO_CALL
