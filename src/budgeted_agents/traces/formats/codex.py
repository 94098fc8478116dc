"""Codex: rollouts (``~/.codex/sessions``), and what ``codex exec --json`` prints.

Usage is told as a running total, often twice: a call is what a total has grown by. A session forked from another begins
with a copy of what happened there, whose totals are only where its own begin. ``exec`` tells the total after each turn,
which can be of many calls: it states what the session used, and a rollout of it says more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from budgeted_agents.errors import InvalidInput
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.documents import Record, records
from budgeted_agents.traces.fields import mapping, text
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import fingerprint, seconds, texts
from budgeted_agents.usage import Usage

_CLOCK_SKEW = 1.0
"""Seconds by which the turn that a fork begins with may seem to have begun before the fork."""

_IS_ROLLOUT = re.compile(rb'"type"\s*:\s*"(session_meta|turn_context|event_msg|response_item)"')
_IS_EXEC = re.compile(rb'"type"\s*:\s*"(thread\.started|turn\.started|turn\.completed)"')


class Codex:
    """Rollouts of Codex, and its output as JSON."""

    name = "codex"
    about = "Codex rollouts, and the output of codex exec --json"

    def detect(self, source: Source) -> bool:
        """Whether the first line is an event of a rollout or of ``exec``."""
        keys = source.outline
        if {"timestamp", "type", "payload"} <= keys:
            return _IS_ROLLOUT.search(source.head) is not None
        return "type" in keys and _IS_EXEC.match(source.head.lstrip(b" \t\r\n{")) is not None

    def read(self, source: Source) -> Iterator[TracedCall]:
        """Its calls, then a statement that counts what users asked for."""
        rollout = _Rollout(source)
        for line, record in records(source):
            try:
                call = rollout.take(line, record)
            except InvalidInput as error:
                source.problems.skip(f"{error}; it is skipped", line)
            else:
                if call is not None:
                    yield call
        yield from rollout.statement()


class _Rollout:
    """One pass over a rollout: whose events these are, and what is known of the next call."""

    def __init__(self, source: Source) -> None:
        self._path = source.path
        self._session = ""
        self._began = 0.0
        self._is_copy = False
        self._model = ""
        self._provider = ""
        self._cwd = ""
        self._before: Mapping[str, Any] = {}
        self._tools: list[tuple[str, str]] = []
        self._turns = 0

    def take(self, line: int, record: Record) -> TracedCall | None:
        """What an event adds: a call, if it tells of new usage.

        Raises:
            InvalidUsage: its counts are negative, absurd or no numbers.
        """
        payload = mapping(record.get("payload"))
        match record.get("type"):
            case "session_meta":
                self._begin(payload, record)
            case "turn_context":
                self._model = text(payload.get("model"), self._model)
            case "response_item":
                self._add_tool(payload)
            case "event_msg":
                return self._event(line, record, payload)
            case "thread.started":
                self._session = text(record.get("thread_id"))
            case "turn.completed":
                return self._turn(line, record)
        return None

    def _turn(self, line: int, record: Record) -> TracedCall | None:
        """What is said of a turn: the calls in it are not told."""
        turn = self._grown(line, record, mapping(record.get("usage")), {})
        if turn is not None:
            turn.kind, turn.calls = "statement", 0
            self._turns += 1
        return turn

    def statement(self) -> Iterator[TracedCall]:
        """How often users asked for something, if they did."""
        if self._turns:
            session = self._name
            yield TracedCall(id=f"turns:{session}", session=session, kind="statement", calls=0, turns=self._turns)

    @property
    def _name(self) -> str:
        return self._session or PurePath(self._path).stem

    def _begin(self, meta: Record, record: Record) -> None:
        """The first one is the session's own; those after it came with the copy of a parent."""
        if not self._session:
            self._session = text(meta.get("id"))
            self._began = seconds(record.get("timestamp"))
            self._is_copy = bool(meta.get("forked_from_id"))
            self._provider = text(meta.get("model_provider"))
            self._cwd = text(meta.get("cwd"))

    def _event(self, line: int, record: Record, event: Record) -> TracedCall | None:
        match event.get("type"):
            case "task_started" if self._is_copy:
                self._is_copy = seconds(event.get("started_at")) < self._began - _CLOCK_SKEW
                self._tools = []
            case "user_message":
                self._turns += not self._is_copy
            case "token_count":
                info = mapping(event.get("info"))
                total, last = mapping(info.get("total_token_usage")), mapping(info.get("last_token_usage"))
                if self._is_copy:
                    self._before, self._tools = total, []
                elif info:
                    return self._grown(line, record, total, last)
        return None

    def _grown(self, line: int, record: Record, total: Record, last: Record) -> TracedCall | None:
        """The call that made the total grow. A total that shrank was started again, and the last call is all of it."""
        growth: Record = {name: _growth(count, self._before.get(name, 0)) for name, count in total.items()}
        if not total or any(type(count) is int and count < 0 for count in growth.values()):
            growth = last or total
        usage = Usage.from_flat(growth, place=f"{self._path}:{line}")
        self._before = total or self._before
        if not usage.total_tokens:
            return None
        tools, self._tools = tuple(self._tools), []
        at = seconds(record.get("timestamp"))
        counted = fingerprint(total or [last, at])
        return TracedCall(
            id=f"{self._name}:{counted}",
            session=self._name,
            model=self._model,
            provider=self._provider,
            usage=usage,
            started_at=at,
            ended_at=at,
            node="main",
            tools=tools,
            attribution=texts(project=self._cwd),
            line=line,
        )

    def _add_tool(self, item: Record) -> None:
        """A tool that an answer asks for; the usage of the answer comes behind it."""
        arguments = item.get("arguments", item.get("input", item.get("action")))
        match item.get("type"):
            case "function_call" | "custom_tool_call":
                self._tools.append((text(item.get("name")) or "unnamed", fingerprint(arguments)))
            case "local_shell_call":
                self._tools.append(("local_shell", fingerprint(arguments)))


def _growth(count: Any, before: Any) -> Any:
    """What is no number stays as it is, for whoever validates it."""
    return count - before if type(count) is int and type(before) is int else count


FORMAT = Codex()
