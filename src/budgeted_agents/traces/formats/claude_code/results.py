"""``result`` events: what ``claude -p`` says a session has cost, by model, side calls and sub-agents included.

Within one process the figures grow from event to event, so the last one counts. They start again when a session is
resumed: then both processes count. Logs copy events; the ``uuid`` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from budgeted_agents.errors import InvalidInput
from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, TracedCall
from budgeted_agents.traces.fields import mapping, text
from budgeted_agents.traces.formats.claude_code.entries import Entry
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import recorded_usd
from budgeted_agents.usage import Usage, service_region


class Results:
    """The result events of one file, as statements about its sessions."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._problems = source.problems
        self._seen: set[str] = set()
        self._last: dict[str, tuple[int, Entry]] = {}
        self._before_resume: list[tuple[int, Entry]] = []

    def add(self, result: Entry, line: int) -> None:
        """Take an event of type ``result``."""
        name = _name(result, line)
        if name in self._seen:
            return
        self._seen.add(name)
        last = self._last.get(result.session)
        if last is not None and _cost(last[1]) > _cost(result):
            self._before_resume.append(last)
        self._last[result.session] = (line, result)

    def statements(self) -> Iterator[TracedCall]:
        """For each session, and each time that it was resumed, one statement a model."""
        for line, result in (*self._before_resume, *self._last.values()):
            try:
                statements = list(self._of(result, line))
            except InvalidInput as error:
                self._problems.skip(f"{error}; the event is skipped", line)
            else:
                yield from statements

    def _of(self, result: Entry, line: int) -> Iterator[TracedCall]:
        place, name = f"{self._path}:{line}", _name(result, line)
        main = Usage.from_anthropic(result.usage, place=place)
        region = service_region(result.usage) or ""
        turns, calls = 1, max(result.num_turns, 0)
        for model, figures in (result.models or {}).items():
            usage, flags = _usage_of(figures, main, place)
            yield TracedCall(
                id=f"{name}:{model}",
                session=result.session,
                kind="statement",
                model=model,
                provider=text(mapping(figures).get("provider")),
                usage=usage,
                region=region,
                recorded_cost=recorded_usd(mapping(figures).get("costUSD"), place),
                flags=flags,
                calls=calls,
                turns=turns,
                succeeded=_has_succeeded(result),
                line=line,
            )
            turns = calls = 0  # are the session's, and would be added up over its models
        if not result.models:
            yield TracedCall(
                id=name,
                session=result.session,
                kind="statement",
                usage=main,
                region=region,
                recorded_cost=recorded_usd(result.total_cost_usd, place),
                calls=calls,
                turns=turns,
                succeeded=_has_succeeded(result),
                line=line,
            )


def _name(result: Entry, line: int) -> str:
    return result.uuid or f"result:{result.session}:{line}"


def _has_succeeded(result: Entry) -> bool | None:
    if result.is_error is None and result.subtype is None:
        return None
    return not result.is_error and result.subtype in (None, "success")


def _usage_of(figures: Any, main: Usage, place: str) -> tuple[Usage, tuple[str, ...]]:
    """A model's tokens. Only the main loop's usage says how long cache writes live; used if it has them all."""
    usage = Usage.from_claude_code(figures, place=place)
    written = usage.cache_write_5m
    if written == main.cache_write_5m + main.cache_write_1h:
        return replace(usage, cache_write_5m=main.cache_write_5m, cache_write_1h=main.cache_write_1h), ()
    return usage, (CACHE_TTL_UNKNOWN,) if written else ()


def _cost(result: Entry) -> float:
    return result.total_cost_usd if isinstance(result.total_cost_usd, int | float) else 0.0
