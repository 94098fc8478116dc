"""Which session calls belong to that name none themselves: the one that other spans of their trace name.

Spans come in any order, those of an agent mostly after those of its calls. So a call without a session waits for a
while, and whatever comes after it, so that the order stays the same. No more than so many wait, and memory is constant.
"""

from __future__ import annotations

from typing import Final

from budgeted_agents.traces.call import TracedCall

MOST: Final = 1_000
"""Calls that wait, and traces whose session is remembered."""


class Conversations:
    """The sessions of traces, as far as they have been read.

    Attributes:
        sessions: the session that some span of a trace named first, by the trace's id.
        waiting: calls from the first one on that names none.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, str] = {}
        self.waiting: list[TracedCall] = []

    def settled(self) -> list[TracedCall]:
        """The calls that waited, those without a session with that of their trace, if it is known. They wait no longer,
        and what is too much to remember is forgotten."""
        settled, self.waiting = self.waiting, []
        if self.sessions:
            for call in settled:
                if names_none(call):
                    call.session = self.sessions.get(call.trace, call.session)
        if len(self.sessions) >= MOST:
            self.sessions.clear()
        return settled


def names_none(call: TracedCall) -> bool:
    """Whether no span attribute names the call's session, so that its trace stands for it."""
    return call.session is call.trace
