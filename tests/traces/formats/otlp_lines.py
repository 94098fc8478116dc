"""Small OTLP files for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = 1_765_964_257_000_000_000

CHAT: Mapping[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.conversation.id": "conversation-1",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
}
"""What a call of a model says of itself."""


def chat(span_id: str, parent: Any = "", trace: Any = TRACE, *, without: Any = "", **changes: Any) -> dict[str, Any]:
    """A span of a model call; changes are attributes, with ``__`` for the dots of their names."""
    attributes = {name: value for name, value in CHAT.items() if name != without}
    return span(span_id, parent, trace, **{**attributes, **{name.replace("__", "."): v for name, v in changes.items()}})


def span(span_id: str, parent: Any = "", trace: Any = TRACE, **attributes: Any) -> dict[str, Any]:
    """A span with these attributes, that lasted a second."""
    return {
        "traceId": trace,
        "spanId": span_id,
        "parentSpanId": parent,
        "name": f"span {span_id}",
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 1_000_000_000),
        "attributes": [{"key": key, "value": typed(value)} for key, value in attributes.items()],
        "status": {},
    }


def typed(value: Any) -> dict[str, Any]:
    """A value in OTLP's notation."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(each) for each in value]}}
    return {"stringValue": value}


def request(*spans: Any, resource: Mapping[str, Any] | None = None, scope: str = "test") -> dict[str, Any]:
    """A line's content."""
    attributes = [{"key": key, "value": typed(value)} for key, value in (resource or {}).items()]
    scopes = [{"scope": {"name": scope}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": scopes}]}


def line(*spans: Any, **more: Any) -> bytes:
    """A line, its end included."""
    return json.dumps(request(*spans, **more)).encode() + b"\n"


def write(path: Path, *lines: bytes) -> Path:
    """A file of these lines."""
    path.write_bytes(b"".join(lines))
    return path
