"""What is left of spans whose JSON is not what OTLP says: each wrong field costs itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from budgeted_agents.traces.formats.otlp.shapes import NOTHING, Attribute, Located, Span
from budgeted_agents.traces.problems import Problems

_MOST_VALUES = 500_000
"""Values of a damaged line or document that are taken apart; each may take hundreds of bytes of memory."""

_FIELDS = tuple((field.name, field.encode_name, field.type) for field in msgspec.structs.fields(Span))


def salvage(data: bytes, problems: Problems, line: int = 0) -> Iterator[Located]:
    """The spans that can still be read from a line or a document.

    Args:
        data: JSON that is no ``TracesData``, in valid UTF-8.
        problems: where the wrong fields go.
        line: the line it stands in.
    """
    if data.count(b",") > _MOST_VALUES:
        problems.skip("has wrong types and too much else to sort them out; it is skipped", line)
        return
    try:
        content = json.loads(data, strict=False)
    except (ValueError, RecursionError) as error:
        problems.skip(f"is not JSON ({error}); it is skipped", line or getattr(error, "lineno", 0))
        return
    for request in content if isinstance(content, list) else [content]:
        yield from _of_request(request, problems, line)


def _of_request(request: Any, problems: Problems, line: int) -> Iterator[Located]:
    if isinstance(request, dict) and request.get("type") == "span":
        yield from _of_flat_span(request, problems, line)
        return
    is_empty = True
    for of_resource in _list(request, "resourceSpans"):
        resource = _raw(of_resource.get("resource"))
        for of_scope in _list(of_resource, "scopeSpans"):
            scope = of_scope.get("scope")
            name = _text(scope.get("name")) if isinstance(scope, dict) else ""
            for span in _list(of_scope, "spans"):
                is_empty = False
                yield _span(span, problems, line), name, resource, line
    if is_empty:
        problems.skip("has no spans; it is skipped", line)


def _of_flat_span(span: dict[str, Any], problems: Problems, line: int) -> Iterator[Located]:
    """A span as VS Code's Copilot writes it: plain attributes, times as [seconds, nanoseconds]."""
    plain = span.get("attributes")
    named = plain.items() if isinstance(plain, dict) else ()
    attributes = [{"key": key, "value": _typed(value)} for key, value in named]
    times = {f"{name}UnixNano": _nanoseconds(span.get(name)) for name in ("startTime", "endTime")}
    yield _span({**span, **times, "attributes": attributes}, problems, line), "", NOTHING, line


def _span(raw: Mapping[str, Any], problems: Problems, line: int) -> Span:
    span = Span()
    wrong: list[str] = []
    for name, encoded, kind in _FIELDS:
        if encoded == "attributes":
            span.attributes = list(_attributes(raw.get(encoded), wrong))
        elif raw.get(encoded) is not None:
            try:
                setattr(span, name, _mended(msgspec.convert(raw[encoded], kind, strict=False)))
            except msgspec.ValidationError:
                wrong.append(encoded)
    if wrong:
        problems.warn(f"fields of a span have the wrong type and are left out: {', '.join(wrong[:5])}", line)
    return span


def _attributes(raw: Any, wrong: list[str]) -> Iterator[Attribute]:
    for attribute in raw if isinstance(raw, list) else []:
        try:
            yield msgspec.convert(_mended(_without_nested(attribute)), Attribute, strict=False)
        except msgspec.ValidationError:
            wrong.append(_text(attribute.get("key") if isinstance(attribute, dict) else None) or "attributes")
    if raw is not None and not isinstance(raw, list):
        wrong.append("attributes")


def _without_nested(attribute: Any) -> Any:
    """The attribute with its list or mapping as JSON text, as a typed decoder would keep it."""
    value = attribute.get("value") if isinstance(attribute, dict) else None
    if not isinstance(value, dict):
        return attribute
    nested = next((value[name] for name in ("arrayValue", "kvlistValue") if name in value), None)
    return attribute if nested is None else {**attribute, "value": {"stringValue": json.dumps(nested)}}


def _typed(value: Any) -> dict[str, Any]:
    """A plain value in OTLP's notation."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": value}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value} if isinstance(value, str) else {"arrayValue": value}


def _nanoseconds(time: Any) -> Any:
    match time:
        case [int(seconds), int(nanoseconds)]:
            return seconds * 1_000_000_000 + nanoseconds
        case _:
            return None


def _list(parent: Any, name: str) -> list[dict[str, Any]]:
    children = parent.get(name) if isinstance(parent, dict) else None
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []


def _raw(resource: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(resource).encode()) if isinstance(resource, dict) else NOTHING


def _text(value: Any) -> str:
    return _mended(value) if isinstance(value, str) else ""


def _mended(value: Any) -> Any:
    """The value with half characters in its texts replaced: they cannot be printed or written."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(key): _mended(each) for key, each in value.items()}
    return value
