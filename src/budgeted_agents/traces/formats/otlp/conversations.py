"""What only other spans tell of a call: which session it belongs to, if it names none, and whether it is there twice.

Spans come in any order, those of an agent mostly after those of its calls. So calls wait for a while. No more than so
many wait, and memory is constant.
"""

from __future__ import annotations

from typing import Final

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.formats.otlp.twins import without_twins

MOST: Final = 1_000
"""Calls that wait, and traces whose session is remembered."""

_STAY: Final = 100
"""So many of them wait on for those that follow."""


class Conversations:
    """The sessions of traces, as far as they have been read.

    Attributes:
        sessions: the session that some span of a trace named first, by the trace's id.
        waiting: calls, in order.
        has_nameless: whether some call has named no session.
        has_ours: whether some call was a record of ours.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, str] = {}
        self.waiting: list[TracedCall] = []
        self.has_nameless = False
        self.has_ours = False

    @property
    def needs_others(self) -> bool:
        """Whether calls in other parts of the file may say something of these."""
        return self.has_ours or (self.has_nameless and bool(self.sessions))

    def settled(self, *, is_last: bool = False) -> list[TracedCall]:
        """Calls that wait no longer, each once, those without a session with that of their trace, if it is known. What
        is too much to remember is forgotten."""
        calls = self.waiting
        if self.has_nameless and self.sessions:
            for call in calls:
                if names_none(call):
                    call.session = self.sessions.get(call.trace, call.session)
        if len(self.sessions) >= MOST:
            self.sessions.clear()
        if self.has_ours:
            calls = without_twins(calls)
        leave = len(calls) if is_last else max(len(calls) - _STAY, 0)
        self.waiting = calls[leave:]
        return calls[:leave]


def names_none(call: TracedCall) -> bool:
    """Whether no span attribute names the call's session, so that its trace stands for it."""
    return call.session is call.trace
