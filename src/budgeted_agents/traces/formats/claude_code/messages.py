"""Model calls out of a transcript: the lines of one message put together again.

Every line of a message repeats its usage. In some versions, and in streams that were cut off, the output is the first
estimate of a message that was not finished yet; then it has no stop reason, and the count is a lower bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import PurePath
from typing import Any

import msgspec

from budgeted_agents.errors import InvalidInput
from budgeted_agents.traces.call import OUTPUT_LOWER_BOUND, TracedCall
from budgeted_agents.traces.formats.claude_code.entries import ABSENT, Block, Entry, Message
from budgeted_agents.traces.formats.claude_code.figures import ANY, figures
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import decoded, digest, recorded_usd, seconds
from budgeted_agents.usage import Usage

_MOST_OPEN = 256
"""Messages that may still get further lines. A message's lines stand close together, so the oldest can be let go."""

_NO_CALL = "<synthetic>"
"""The model of what Claude Code says by itself, as when a request failed."""

_BY_ANTHROPIC = re.compile(r"msg_(?:bdrk_|vrtx_)?01[0-9A-Za-z]{22}")
"""Ids that Anthropic gives messages are one message's everywhere. What other providers put there may be anything."""

_NO_USAGE = (ABSENT, msgspec.Raw(b"null"))


class _Open(msgspec.Struct, gc=False):
    """A message, as far as its lines have been read. ``message`` and ``request`` tell whether a line is one of them."""

    id: str
    message: str | None
    request: str | None
    session: str
    model: str
    node: str
    usage: msgspec.Raw
    line: int
    stop_reason: str | None
    first_time: str | None
    last_time: str | None
    cwd: str | None
    cost: Any
    is_error: bool
    tools: dict[str, tuple[str, str]]


class Messages:
    """The messages of one file."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._problems = source.problems
        self._open: dict[str, _Open] = {}
        self._last: _Open | None = None
        self._stem = PurePath(source.path).stem

    def add(self, entry: Entry, line: int) -> Sequence[TracedCall]:
        """Take a line of type ``assistant``. The calls of a message that will get no more lines come out."""
        message, known = entry.message, self._last
        if type(message) is not Message or message.model == _NO_CALL or message.usage in _NO_USAGE:
            return ()
        if known is None or message.id is None or message.id != known.message or entry.request != known.request:
            known = self._last = self._known(entry, message, line)
        if message.usage != known.usage and self._output(message.usage, line) >= self._output(known.usage, line):
            known.usage = message.usage.copy()  # the line with the most output speaks of the finished message
        if message.stop_reason is not None:
            known.stop_reason = message.stop_reason
        known.last_time = entry.timestamp
        if type(message.content) is list:
            for block in message.content:
                if block.type == "tool_use":
                    _add_tool(known.tools, block)
        return self._calls(self._open.pop(next(iter(self._open)))) if len(self._open) > _MOST_OPEN else ()

    def rest(self) -> Iterator[TracedCall]:
        """The calls that are still open, at the end of the file."""
        return chain.from_iterable(map(self._calls, self._open.values()))

    def _known(self, entry: Entry, message: Message, line: int) -> _Open:
        """The message that a line belongs to, opened if this is its first line."""
        key = _key(message.id, entry.request) or entry.uuid or f"{self._stem}:{line}"
        known = self._open.get(key)
        if known is None:
            known = self._open[key] = _Open(
                id=key,
                message=message.id,
                request=entry.request,
                session=entry.session or self._stem,
                model=message.model or "",
                node=entry.node,
                usage=message.usage.copy(),  # the line itself is let go
                line=line,
                stop_reason=None,
                first_time=entry.timestamp,
                last_time=None,
                cwd=entry.cwd,
                cost=entry.cost,
                is_error=entry.is_api_error,
                tools={},
            )
        return known

    def _output(self, usage: msgspec.Raw, line: int) -> int:
        known = decoded(ANY, usage, self._problems, line) or {}
        output = known.get("output_tokens")
        return output if isinstance(output, int) else -1

    def _calls(self, message: _Open) -> Sequence[TracedCall]:
        """The call that gave a message, and those of models that it asked for advice."""
        place = f"{self._path}:{message.line}"
        try:
            usage, tier, region, advice = figures(message.usage, place)
            cost = recorded_usd(message.cost, place)
        except InvalidInput as error:
            self._problems.skip(f"{error}; the call is skipped", message.line)
            return ()
        except (ValueError, RecursionError) as error:
            self._problems.skip(f"its usage cannot be read ({error}); the call is skipped", message.line)
            return ()
        call = TracedCall(
            id=message.id,
            session=message.session,
            model=message.model,
            usage=usage,
            service_tier=tier,
            region=region,
            recorded_cost=cost,
            started_at=seconds(message.first_time),
            ended_at=seconds(message.last_time),
            node=message.node,
            tools=tuple(message.tools.values()),
            attribution={"project": message.cwd} if message.cwd else {},
            flags=() if message.stop_reason else (OUTPUT_LOWER_BOUND,),
            error="api_error" if message.is_error else "",
            line=message.line,
        )
        return (call, *_advice(call, advice)) if advice else (call,)


def _key(message: str | None, request: str | None) -> str:
    """A message's name in all files. Streams leave out the request that transcripts have of the same message."""
    if not message:
        return ""
    return message if _BY_ANTHROPIC.fullmatch(message) else f"{message}:{request or ''}"


def _advice(call: TracedCall, advice: Sequence[tuple[str, Usage]]) -> Iterator[TracedCall]:
    """Calls of their own: what the whole is said to have cost is said with the first."""
    for number, (model, usage) in enumerate(advice, 1):
        yield msgspec.structs.replace(
            call,
            id=f"{call.id}:advice-{number}",
            model=model,
            usage=usage,
            service_tier="",
            recorded_cost=None,
            node=f"{call.node}/advisor",
            tools=(),
        )


def _add_tool(tools: dict[str, tuple[str, str]], block: Block) -> None:
    """Several lines may tell of the same tool call."""
    id = block.id or f"#{len(tools)}"
    if block.name and id not in tools:
        tools[id] = block.name, "" if block.input == ABSENT else digest(bytes(block.input))
