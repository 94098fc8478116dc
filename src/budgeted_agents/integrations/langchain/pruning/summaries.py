"""Summaries that are remembered, so that a history that goes on is not summarized anew at every step.

They are kept in this process only: nothing of them gets into a ledger, a record or a log. A summary is found by the
session and by what it sums up, compared by content, so that a history loaded anew from a checkpoint finds it as well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from budgeted_agents.integrations.langchain.pruning.overflow import Known

MOST_SUMMARIES = 1_024
"""Summaries remembered at a time; a session needs its latest."""


class Summaries:
    """The summaries that were used last, by session and what they sum up. Safe from any thread."""

    def __init__(self, most: int = MOST_SUMMARIES) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, int], HumanMessage | None] = OrderedDict()

    def find(self, session: str, marks: Sequence[int]) -> Known:
        """What is remembered of a history with these marks (see ``marks_of``)."""
        tried = 0
        with self._lock:
            for covers in range(len(marks), 0, -1):
                key = (session, marks[covers - 1])
                if key not in self._kept:
                    continue
                self._kept.move_to_end(key)
                tried = tried or covers
                if (summary := self._kept[key]) is not None:
                    return Known(covers, summary, tried)
        return Known(tried=tried)

    def keep(self, session: str, mark: int, summary: HumanMessage | None) -> None:
        """Remember the summary of the turns up to this mark; None if it was tried in vain."""
        with self._lock:
            if summary is not None or (session, mark) not in self._kept:
                self._kept[session, mark] = summary
            self._kept.move_to_end((session, mark))
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)


def marks_of(turns: Sequence[Sequence[BaseMessage]]) -> list[int]:
    """For each turn, a hash of what the history says up to its end; it means something in this process only.

    Ids of messages do not count: a history may be put together anew. A text remembers its own hash, so that a history
    that is sent again and again is not read again and again.
    """
    mark, marks = 0, []
    for turn in turns:
        for message in turn:
            mark = hash((mark, message.type, message.name, *_said(message)))
        marks.append(mark)
    return marks


def _said(message: BaseMessage) -> tuple[str, str]:
    """A message's content, and the tool calls that it makes or answers."""
    content, calls = message.content, ""
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = repr(message.tool_calls)
    elif isinstance(message, ToolMessage):
        calls = message.tool_call_id
    return content if isinstance(content, str) else repr(content), calls
