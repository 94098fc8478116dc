"""``result`` events: what ``claude -p`` says a session has cost, by model, side calls and sub-agents included.

Within one process the figures grow from event to event, so the last one counts. They start again when a session is
resumed: then both processes count. Logs copy events; the ``uuid`` shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from budgeted_agents.errors import InvalidInput
from budgeted_agents.traces.call import CACHE_TTL_UNKNOWN, TracedCall
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import decoded, recorded_usd
from budgeted_agents.usage import Usage


class _Result(msgspec.Struct, gc=False, rename={"models": "modelUsage"}):
    session_id: str = ""
    uuid: str | None = None
    subtype: str | None = None
    is_error: bool | None = None
    num_turns: int = 0
    total_cost_usd: Any = None
    usage: dict[str, Any] | None = None
    models: dict[str, dict[str, Any]] | None = None
    line: int = 0

    @property
    def id(self) -> str:
        return self.uuid or f"result:{self.session_id}:{self.line}"

    @property
    def succeeded(self) -> bool | None:
        if self.is_error is None and self.subtype is None:
            return None
        return not self.is_error and self.subtype in (None, "success")


_RESULT = msgspec.json.Decoder(_Result)


class Results:
    """The result events of one file, as statements about its sessions."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._problems = source.problems
        self._seen: set[str] = set()
        self._last: dict[str, _Result] = {}
        self._before_resume: list[_Result] = []

    def add(self, written: bytes, line: int) -> None:
        """Take an event of type ``result``."""
        result = decoded(_RESULT, written, self._problems, line)
        if result is None or result.id in self._seen:
            return
        result.line = line
        self._seen.add(result.id)
        last = self._last.get(result.session_id)
        if last is not None and _cost(last) > _cost(result):
            self._before_resume.append(last)
        self._last[result.session_id] = result

    def statements(self) -> Iterator[TracedCall]:
        """For each session, and each time that it was resumed, one statement a model."""
        for result in (*self._before_resume, *self._last.values()):
            try:
                statements = list(self._of(result))
            except InvalidInput as error:
                self._problems.skip(f"{error}; the event is skipped", result.line)
            else:
                yield from statements

    def _of(self, result: _Result) -> Iterator[TracedCall]:
        place = f"{self._path}:{result.line}"
        main = Usage.from_anthropic(result.usage, place=place)
        turns, calls = 1, max(result.num_turns, 0)
        for model, figures in (result.models or {}).items():
            usage, flags = _usage_of(figures, main, place)
            yield TracedCall(
                id=f"{result.id}:{model}",
                session=result.session_id,
                kind="statement",
                model=model,
                provider=str(figures.get("provider") or ""),
                usage=usage,
                recorded_cost=recorded_usd(figures.get("costUSD"), place),
                flags=flags,
                calls=calls,
                turns=turns,
                succeeded=result.succeeded,
                line=result.line,
            )
            turns = calls = 0  # are the session's, and would be added up over its models
        if not result.models:
            yield TracedCall(
                id=result.id,
                session=result.session_id,
                kind="statement",
                usage=main,
                recorded_cost=recorded_usd(result.total_cost_usd, place),
                calls=calls,
                turns=turns,
                succeeded=result.succeeded,
                line=result.line,
            )


def _usage_of(figures: dict[str, Any], main: Usage, place: str) -> tuple[Usage, tuple[str, ...]]:
    """A model's tokens. Only the main loop's usage says how long cache writes live; used if it has them all."""
    usage = Usage.from_claude_code(figures, place=place)
    written = usage.cache_write_5m
    if written == main.cache_write_5m + main.cache_write_1h:
        return replace(usage, cache_write_5m=main.cache_write_5m, cache_write_1h=main.cache_write_1h), ()
    return usage, (CACHE_TTL_UNKNOWN,) if written else ()


def _cost(result: _Result) -> float:
    return result.total_cost_usd if isinstance(result.total_cost_usd, int | float) else 0.0
