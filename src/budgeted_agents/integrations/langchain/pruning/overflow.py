"""What to do about a history that is too long, where its oldest turns are to be summed up rather than lost. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage, HumanMessage

from budgeted_agents.integrations.langchain.calls.messages import count
from budgeted_agents.integrations.langchain.pruning.shortening import (
    History,
    Room,
    Version,
    Versions,
    behind,
    cleared,
    shortened,
)

HEADING = "Summary of the conversation before this, which is not shown any more:\n"

SHARES_FOR_SUMMARY, LONGEST_SUMMARY, SHORTEST_SUMMARY = 8, 1_024, 32
"""A summary may have an eighth of the room that system messages and tool schemas leave, at most so many tokens. Where
that is too few to say anything, none is made."""

SHARES_FOR_REQUEST = 4
"""The user's latest message is kept word by word beside a summary if it takes a quarter of that room, or less."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a history.

    Attributes:
        covers: how many of its oldest turns are summed up; 0 if none are.
        summary: the message that stands in their place.
        tried: how many of its oldest turns it was last tried to sum up.
    """

    covers: int = 0
    summary: HumanMessage | None = None
    tried: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A summary to be made.

    Attributes:
        covers: how many of the oldest turns it stands for.
        dropped: the messages to sum up, behind what is summed up already.
        tokens: its length, at most.
    """

    covers: int
    dropped: list[BaseMessage]
    tokens: int


def summary_message(text: str) -> HumanMessage:
    """What stands in a history in place of the turns that are summed up."""
    return HumanMessage(f"{HEADING}{text}")


class Overflow:
    """A history that is too long.

    Args:
        messages: the history.
        room: what there is for it.
    """

    def __init__(self, messages: list[BaseMessage], room: Room) -> None:
        self.history = History.of(messages)
        self._messages = messages
        self._room = room
        self._free = room.limit - room.size(self.history.system)

    def with_results_cleared(self, known: Known) -> Version | None:
        """The history behind the summary that is known, if that, or clearing old tool results, is enough."""
        return self._room.longest(self._versions(known, cleared))

    def with_turns_dropped(self, known: Known) -> Version | None:
        """As much of the history behind the summary that is known as there is room for; None if there is for none."""
        return self._room.longest(self._versions(known, shortened))

    def wanted(self, known: Known) -> Wanted | None:
        """The summary to be made now; None if none would help.

        It stands for so many turns that half of the room is free afterward, so that it lasts for some steps. Where one
        was tried in vain, it is not tried again until what came after that has outgrown the room by itself.
        """
        firsts, tokens = range(known.covers + 1, len(self.history.turns)), self._tokens()
        if not firsts or tokens < SHORTEST_SUMMARY:
            return None
        if known.tried > known.covers and self._room.holds(self.history.since(known.tried)):
            return None
        target = self._room.limit - self._free // 2 - tokens
        place = bisect_left(firsts, True, key=lambda first: self._room.size(self._kept(first)) <= target)
        first = firsts[min(place, len(firsts) - 1)]
        if self._least(first, summary_message("")) + tokens > self._room.limit:
            return None
        return Wanted(first, self.history.between(known.covers, first), tokens)

    def takes(self, wanted: Wanted, summary: HumanMessage) -> bool:
        """Whether there is room for this summary and the turns behind it."""
        return self._least(wanted.covers, summary) <= self._room.limit

    def _versions(
        self, known: Known, shorter: Callable[[Sequence[BaseMessage]], Sequence[Version]]
    ) -> Sequence[Version]:
        if known.summary is None:
            return shorter(self._messages)
        rest, asked = self.history.since(known.covers), self._asked_before(known.covers)
        versions = behind(known.summary, asked, rest, shorter)
        if not asked:
            return versions
        last = len(versions)
        return Versions(last + 1, lambda at: versions[at] if at < last else _without(asked, versions[-1]))

    def _kept(self, first: int) -> Version:
        return [*self._asked_before(first), *self.history.since(first)]

    def _least(self, first: int, summary: BaseMessage) -> int:
        return self._room.size([*self.history.since(first), summary])

    def _asked_before(self, first: int) -> list[BaseMessage]:
        asked = self.history.asked_before(first)
        return asked if count(self._room.model, asked) <= self._free // SHARES_FOR_REQUEST else []

    def _tokens(self) -> int:
        return min(self._free // SHARES_FOR_SUMMARY, LONGEST_SUMMARY)


def _without(asked: Sequence[BaseMessage], version: Version) -> Version:
    return [message for message in version if all(message is not each for each in asked)]
