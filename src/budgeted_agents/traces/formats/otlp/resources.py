"""Whom a span's cost is attributed to, by its own attributes and those of its process."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from budgeted_agents.traces.formats.otlp.layouts import Layout
from budgeted_agents.traces.formats.otlp.names import MEANING
from budgeted_agents.traces.formats.otlp.shapes import Attribute, Found, Resource, Value, text_of

Attribution = Mapping[str, str]

_MOST_REMEMBERED = 4096
_OWN = "budget.attribution."
_DIMENSIONS = ("tenant", "user", "workflow", "feature", "environment")
_UNNAMED_SERVICE = "unknown_service"
_decode = msgspec.json.Decoder(Resource, strict=False).decode


class _Process:
    """What spans of one process have in common, and the attributions made of it so far."""

    def __init__(self, raw: bytes) -> None:
        self.raw = msgspec.Raw(raw)
        self.found = _of_process(raw)
        self.known: dict[tuple[str | None, ...], Attribution] = {}


class Resources:
    """Attributions of spans. Nearly all are repeated, so each is made once."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Process] = {}
        self._last = _Process(b"")

    def attribution(self, resource: msgspec.Raw, attributes: list[Attribute], at: Layout) -> Attribution:
        """The attribution of a span.

        Args:
            resource: the process's attributes, as they stand in the file.
            attributes: the span's.
            at: what they mean.
        """
        process = self._last
        if resource != process.raw:
            process = self._last = self._process(bytes(resource))
        if "reservation" in at.positions:
            return _named(process.found) | _of_own(attributes)
        who = (
            attributes[at.tenant].value.string_value,
            attributes[at.user].value.string_value,
            attributes[at.workflow].value.string_value,
            attributes[at.feature].value.string_value,
            attributes[at.environment].value.string_value,
        )
        known = process.known.get(who)
        return self._attribution(process, who, at.found(attributes)) if known is None else known

    def _attribution(self, process: _Process, who: tuple[str | None, ...], found: Found) -> Attribution:
        attribution = _named({**process.found, **found})
        if None not in who:  # else one of them is no text
            if len(process.known) >= _MOST_REMEMBERED:
                process.known.clear()
            process.known[who] = attribution
        return attribution

    def _process(self, raw: bytes) -> _Process:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        return self._known.get(raw) or self._known.setdefault(raw, _Process(raw))


def _of_process(raw: bytes) -> Found:
    """What a resource says; its service counts as a feature unless a span names one."""
    try:
        attributes = _decode(raw).attributes
    except (ValueError, RecursionError):
        return {}
    found = {meaning: each.value for each in attributes if (meaning := MEANING.get(each.key)) is not None}
    service = found.get("service")
    if service is not None and not text_of(service).startswith(_UNNAMED_SERVICE):
        found.setdefault("feature", service)
    return found


def _named(found: Mapping[str, Value]) -> dict[str, str]:
    return {name: text for name in _DIMENSIONS if name in found and (text := text_of(found[name]))}


def _of_own(attributes: list[Attribute]) -> dict[str, str]:
    """Every dimension that a record of ours has."""
    own = (each for each in attributes if each.key.startswith(_OWN))
    return {each.key.removeprefix(_OWN): text for each in own if (text := text_of(each.value))}
