"""This library's own plain format, into which a short script turns anything else: one flat JSON object a line.

``docs/traces.md`` says what each field means. Names that are not in it are probably misspelled, so they are reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from budgeted_agents.traces.call import ESTIMATED, LOCAL_MODEL, Kind, TracedCall
from budgeted_agents.traces.documents import Record, read_each, records
from budgeted_agents.traces.fields import names
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, recorded_usd, seconds, texts
from budgeted_agents.usage import Usage, region_of

_TIMES = {"started_at", "ended_at"}
_TELLING = {"input_tokens", "cost_usd", "kind"}

_Name = str | int
"""What tells one thing from others; databases give numbers for that."""


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: Any = msgspec.UNSET


class _Call(msgspec.Struct):
    """A line. Tokens are checked where they are read."""

    id: _Name
    session: _Name
    kind: Kind = "model"
    model: str = ""
    model_asked: str = ""
    provider: str = ""
    service_tier: str = ""
    region: str = ""
    input_tokens: Any = None
    output_tokens: Any = None
    cached_input_tokens: Any = None
    cache_write_input_tokens: Any = None
    cache_write_1h_input_tokens: Any = None
    audio_input_tokens: Any = None
    image_input_tokens: Any = None
    reasoning_output_tokens: Any = None
    audio_output_tokens: Any = None
    image_output_tokens: Any = None
    web_searches: Any = None
    cost_usd: Any = None
    started_at: float | str = 0.0
    ended_at: float | str = 0.0
    node: str = ""
    tool: str = ""
    arguments: Any = msgspec.UNSET
    tools: list[_Tool] = []
    error: str = ""
    is_estimated: bool = False
    is_local: bool = False
    trace: _Name = ""
    span: _Name = ""
    parent: _Name = ""
    tenant: _Name = ""
    user: _Name = ""
    feature: str = ""
    cost_center: str = ""
    workflow: str = ""
    environment: str = ""
    tags: list[str] | str = ""
    calls: int = 1
    turns: int = 0
    succeeded: bool | None = None


FIELDS = frozenset(_Call.__struct_fields__)
"""All fields a line may have."""


class Neutral:
    """Calls as flat JSON lines."""

    name = "neutral"
    about = "This library's own flat JSON lines, for which docs/traces.md has a converter to start from"

    def detect(self, source: Source) -> bool:
        """Whether the first record names itself, its session, and one of the fields that few others have."""
        keys = source.outline
        return keys >= {"id", "session"} and not keys.isdisjoint(_TELLING)

    def read(self, source: Source) -> Iterator[TracedCall]:
        """One call a line."""
        problems = source.problems
        told: set[str] = set()
        return read_each(records(source), lambda line, record: _calls(record, told, problems, line), problems)


FORMAT = Neutral()


def _calls(record: Record, told: set[str], problems: Problems, line: int) -> Iterator[TracedCall]:
    """The call of a record. A field that is null is one that is left out; ``told`` are those that were warned of."""
    for name in sorted(record.keys() - FIELDS - told):
        told.add(name)
        problems.warn(f"has a field {name!r} that the format does not know; it is ignored, here and below", line)
    known = {name: value for name, value in record.items() if name in FIELDS and value is not None}
    try:
        call = msgspec.convert(known, _Call)
    except msgspec.ValidationError as error:
        problems.skip(f"is no call ({error}); it is skipped", line)
        return
    for name in sorted(_TIMES - told):
        if known.get(name) and not seconds(known[name]):
            told.add(name)
            said = f"{name}={known[name]!r} is no time, which is ISO 8601 or seconds since the epoch"
            problems.warn(f"{said}; it counts as unknown, here and below", line)
    yield _traced(call, Usage.from_flat(known, place=f"usage of {call.id}"), line)


def _traced(call: _Call, usage: Usage, line: int) -> TracedCall:
    flags = ((ESTIMATED, call.is_estimated), (LOCAL_MODEL, call.is_local))
    return TracedCall(
        id=str(call.id),
        session=str(call.session),
        kind=call.kind,
        trace=str(call.trace),
        span=str(call.span),
        parent=str(call.parent),
        model=call.model,
        model_asked=call.model_asked,
        provider=call.provider,
        usage=usage,
        service_tier=call.service_tier,
        region=region_of(call.region) or "",
        recorded_cost=recorded_usd(call.cost_usd, f"cost of {call.id}"),
        started_at=seconds(call.started_at),
        ended_at=seconds(call.ended_at),
        node=call.node,
        tool=call.tool,
        fingerprint=_digest(call.arguments),
        tools=tuple((tool.name, _digest(tool.arguments)) for tool in call.tools),
        attribution=texts(
            tenant=call.tenant,
            user=call.user,
            feature=call.feature,
            cost_center=call.cost_center,
            workflow=call.workflow,
            environment=call.environment,
            tags=names(call.tags),
        ),
        flags=tuple(flag for flag, is_set in flags if is_set),
        error=call.error,
        calls=call.calls,
        turns=call.turns,
        succeeded=call.succeeded,
        line=line,
    )


def _digest(arguments: Any) -> str:
    return "" if arguments is msgspec.UNSET else fingerprint(arguments)
