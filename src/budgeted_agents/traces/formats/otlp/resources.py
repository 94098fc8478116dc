"""Whom a span's cost is attributed to, by its own attributes and those of its process."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from budgeted_agents.traces.formats.otlp.names import TEXT_OF, Texts
from budgeted_agents.traces.formats.otlp.shapes import Attribute, Plain, Resource

Attribution = Mapping[str, str]

_MOST_REMEMBERED = 4096
_OWN = "budget.attribution."
_UNNAMED_SERVICE = "unknown_service"
_decode = msgspec.json.Decoder(Resource).decode


class Resources:
    """Attributions of spans. Nearly all are repeated, so each is made once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Attribution, dict[object, Attribution]]] = {}
        self._last: bytes = b""
        self._of_last: tuple[Attribution, dict[object, Attribution]] = ({}, {})

    def attribution(
        self, resource: msgspec.Raw, found: Mapping[Texts, Plain], attributes: list[Attribute]
    ) -> Attribution:
        """The attribution of a span.

        Args:
            resource: the process's attributes, as they stand in the file.
            found: what the span's attributes say.
            attributes: the span's attributes.
        """
        if (raw := bytes(resource)) != self._last:
            self._last, self._of_last = raw, self._resource(raw)
        base, known = self._of_last
        if "reservation" in found:
            return {**base, **_of_own(attributes)}
        get = found.get
        who = (get("tenant"), get("user"), get("workflow"), get("feature"), get("environment"))
        attribution = known.get(who)
        if attribution is None:
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            attribution = known[who] = {**base, **_named(found)}
        return attribution

    def _resource(self, raw: bytes) -> tuple[Attribution, dict[object, Attribution]]:
        known = self._known.get(raw)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[raw] = (_of_process(raw), {})
        return known


def _of_process(raw: bytes) -> Attribution:
    """What a resource says; a service counts as a feature unless the span names one."""
    try:
        attributes = _decode(raw).attributes
    except (msgspec.DecodeError, RecursionError):
        return {}
    found = {slot: each.value.plain() for each in attributes if (slot := TEXT_OF.get(each.key)) is not None}
    service = found.pop("service", None)
    if service and not str(service).startswith(_UNNAMED_SERVICE):
        found.setdefault("feature", service)
    return _named(found)


def _named(found: Mapping[Texts, Plain]) -> Attribution:
    names: tuple[Texts, ...] = ("tenant", "user", "workflow", "feature", "environment")
    return {name: str(value) for name in names if (value := found.get(name)) not in (None, "")}


def _of_own(attributes: list[Attribute]) -> Attribution:
    """Every dimension that a record of ours has."""
    own = (each for each in attributes if each.key.startswith(_OWN))
    return {each.key.removeprefix(_OWN): str(value) for each in own if (value := each.value.plain()) not in (None, "")}
