"""``CallRecord``: what one model or tool call was, cost, and why. It never carries prompt or completion text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

Outcome = Literal["settled", "released", "presumed"]
"""Which verb of the ledger ends the call: ``settle``, ``release`` or ``presume``."""

Held = tuple[str, int, int]
"""What a call holds in one account: the account's key, its limit without top-ups, and the amount, in the unit."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class CallRecord(NamedTuple):
    """One settled model or tool call.

    Attributes:
        id: the attempt's id, the same as its reservation's.
        kind: ``model`` or ``tool``.
        session, run, step: which conversation, invocation and step of the graph.
        attribution: every dimension known of the call.
        model_asked, model_used: the tier asked for and the one called (empty for tools).
        model_billed: the name the provider answered with.
        provider: who served it, by OpenTelemetry's name (``openai``, ``aws.bedrock``, ...).
        operation: ``embeddings``, or empty for a chat or a tool.
        service_tier: the service tier it was billed at, if it was not the usual one; ``region`` the region, if it was
            billed at a higher price there.
        tool: the tool's name (empty for models).
        usage: token classes and their counts.
        unit_prices: USD a token used for the cost, as decimal strings, so that history is never re-priced.
        price_source: where those prices come from.
        reserved, cost: nano-USD held before, and charged after.
        granted: output tokens granted; ``output_limit`` the limit set on the call, None if it was left alone.
        reason: why this model and this limit.
        outcome: ``settled``; ``released`` (certainly not billed); ``presumed`` (nobody knows: charged as reserved).
        flags: ``estimated`` usage, ``overrun``, ``late``, ``cache_hit``, ``shadow``...
        error: the class of the exception that ended the call, if one did.
        started_at, ended_at: seconds since the epoch.
        parent: the W3C ``traceparent`` of the span it was made in; empty if there was none.
        holds: what it held, account by account.
        actual: what was charged, by unit (as in the ledger's ``settle``).
        booked: whether the ledger has an entry for it; a tool that no budget limits has none.
    """

    id: str
    kind: Literal["model", "tool"]
    session: str
    run: str
    started_at: float
    ended_at: float
    outcome: Outcome
    step: int | None = None
    attribution: Mapping[str, str] = _NOTHING
    model_asked: str = ""
    model_used: str = ""
    model_billed: str = ""
    provider: str = ""
    operation: str = ""
    service_tier: str = ""
    tool: str = ""
    usage: Mapping[str, int] = _NOTHING
    unit_prices: Mapping[str, str] = _NOTHING
    price_source: str = ""
    reserved: int = 0
    cost: int = 0
    granted: int = 0
    output_limit: int | None = None
    reason: str = ""
    flags: tuple[str, ...] = ()
    error: str = ""
    region: str = ""
    parent: str = ""
    holds: tuple[Held, ...] = ()
    actual: Mapping[str, int] = _NOTHING
    booked: bool = True

    @property
    def node(self) -> str:
        return self.attribution.get("node", "")

    @property
    def input_tokens(self) -> int:
        return self.usage.get("input_tokens", 0)

    @property
    def output_tokens(self) -> int:
        return self.usage.get("output_tokens", 0)

    def to_json(self) -> dict[str, Any]:
        """A JSON object for the ledger; optional fields that hold their default are left out, except the cost.

        What the ledger's own entry says (holds, actual) and what it need not know (parent, booked) is in ``spans``.
        """
        # Every default is falsy, and asking for truth is several times quicker than comparing.
        body: dict[str, Any] = {
            name: value
            for name, value in zip(_FOR_THE_LEDGER, self, strict=False)
            if value or (name in _ALWAYS and value is not None)
        }
        for name in _MAPPINGS & body.keys():
            body[name] = dict(body[name])
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The record again; fields of a newer version are ignored."""
        values = {name: value for name, value in body.items() if name in cls._fields}
        values["flags"] = tuple(values.get("flags", ()))
        return cls(**values)


_FOR_THE_LEDGER = CallRecord._fields[: CallRecord._fields.index("parent")]
_MAPPINGS = frozenset({"attribution", "usage", "unit_prices"})
_ALWAYS = frozenset(CallRecord._fields) - CallRecord._field_defaults.keys() | {"cost", "step", "output_limit"}
"""Written even where they are falsy: what must be given, the cost, and a step or a limit of 0."""
