"""The simplest value that a JSON schema allows. Pure.

It knows the keywords with which Pydantic describes types and their constraints; of patterns only those that one
character, repeated, fits. What else a schema asks for is not seen to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uuid4": "00000000-0000-4000-8000-000000000000",
}
_CHARACTERS, _LONGEST = "aA0", 40
"""What is tried where a pattern must be fitted, and how often it is repeated."""


class _Endless(Exception):
    """A schema that contains itself; whoever can do without its value does."""


def sample(schema: Schema, text: str) -> Any:
    """The simplest value of a schema, with the text in its string fields.

    Properties that are not required are filled as well, unless that would go on without end.
    """
    try:
        return _sample(schema, _Sampling(text, schema))
    except _Endless:
        return text


class _Sampling:
    """The text, the definitions that references name, and those that are being followed."""

    def __init__(self, text: str, root: Schema, followed: tuple[str, ...] = ()) -> None:
        self.text, self.root, self.followed = text, root, followed

    def resolved(self, reference: str) -> tuple[Schema, _Sampling]:
        if reference in self.followed:
            raise _Endless
        found: Any = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found.get(part, {})
        return found, _Sampling(self.text, self.root, (*self.followed, reference))


def _sample(schema: Any, at: _Sampling) -> Any:
    if not isinstance(schema, Mapping):  # true: anything
        return at.text
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return _sample(*at.resolved(schema["$ref"]))
    if "allOf" in schema:
        return _sample(*_merged(schema, at))
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        rest = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
        return _first_of([{**rest, **choice} for choice in choices], at)
    return _of_type(schema, at)


def _of_type(schema: Schema, at: _Sampling) -> Any:
    match _type_of(schema):
        case "object":
            return dict(_properties(schema, at))
        case "array":
            return _array(schema, at)
        case "integer" | "number" as kind:
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return False
        case "null":
            return None
    return _text(schema, at.text)


def _type_of(schema: Schema) -> str:
    kind = schema.get("type") or ("object" if "properties" in schema else "")
    kinds = [kind] if isinstance(kind, str) else kind
    return str(next((each for each in kinds if each != "null"), "null")).lower()  # Gemini writes in capitals


def _merged(schema: Schema, at: _Sampling) -> tuple[Schema, _Sampling]:
    """A schema and all that it consists of, as one."""
    merged = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        found, at = at.resolved(part["$ref"]) if "$ref" in part else (part, at)
        properties = {**merged.get("properties", {}), **found.get("properties", {})}
        merged |= {**found, "properties": properties} if properties else found
    return merged, at


def _first_of(choices: Sequence[Schema], at: _Sampling) -> Any:
    """Of the first choice that comes to an end."""
    for choice in choices:
        try:
            return _sample(choice, at)
        except _Endless:
            continue
    raise _Endless


def _properties(schema: Schema, at: _Sampling) -> Iterator[tuple[str, Any]]:
    for name, part in schema.get("properties", {}).items():
        try:
            yield name, _sample(part, at)
        except _Endless:
            if name in schema.get("required", ()):
                raise


def _array(schema: Schema, at: _Sampling) -> list[Any]:
    least, most = int(schema.get("minItems") or 0), schema.get("maxItems")
    length = max(1, least) if most is None else min(max(1, least), int(most))
    try:
        first = [_sample(part, at) for part in schema.get("prefixItems") or ()]
        return first + [_sample(schema.get("items", True), at) for _ in range(length - len(first))]
    except _Endless:
        if least:
            raise
        return []


def _number(schema: Schema, *, whole: bool) -> float:
    """Of some numbers at the bounds, the allowed one that is nearest to zero; an integer if it has to be one."""
    step = schema.get("multipleOf") or (1 if whole else None)
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    bounds = [bound for bound in (max(least, above), min(most, below)) if math.isfinite(bound)]
    if step is None:
        tried = [0, sum(bounds) / 2, *(bound + offset for bound in bounds for offset in (0, 1, -1))]
    else:
        tried = [0, *((math.floor(bound / step) + offset) * step for bound in bounds for offset in (0, 1, -1))]
    allowed = [number for number in tried if least <= number <= most and above < number < below]
    return min(allowed, key=abs, default=0)


def _text(schema: Schema, text: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
    long_enough = (text or " ") * max(1, -(-least // max(1, len(text)))) if least else text
    sized = long_enough if most is None else long_enough[: int(most)]
    pattern = schema.get("pattern")
    if not pattern:
        return sized
    repeated = (letter * length for length in range(max(1, least), _LONGEST) for letter in _CHARACTERS)
    return next((each for each in (sized, *repeated) if _fits(pattern, each)), sized)


def _fits(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # a pattern in another dialect
        return False
