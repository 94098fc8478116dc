"""What LangChain's metadata says of a call, which OpenInference writes as one JSON text."""

from __future__ import annotations

import msgspec

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.formats.otlp.shapes import Value


class _Metadata(msgspec.Struct, gc=False):
    langgraph_node: str | None = None
    tenant: str | int | None = None
    tenant_id: str | int | None = None


_decode = msgspec.json.Decoder(_Metadata).decode


def add_metadata(call: TracedCall, value: Value) -> None:
    """Give a call the node and the tenant that its metadata names, where nothing else does. What is no such metadata
    says nothing."""
    try:
        found = _decode(value.string_value or "")
    except (ValueError, RecursionError):
        return
    call.node = call.node or found.langgraph_node or ""
    tenant = found.tenant or found.tenant_id
    if tenant and "tenant" not in call.attribution:
        call.attribution = {**call.attribution, "tenant": str(tenant)}
