"""Shorter versions of a history: old tool results cleared, the oldest turns dropped, or a summary in their place.

Each is a history that a provider accepts: no tool call without its result, no result without its call, system messages
first, and a user's message to answer. Messages are never changed in place. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from budgeted_agents.integrations.langchain.calls.messages import count

CLEARED = "[cleared to save context]"
"""Stands in place of an old tool result."""

KEPT_RESULTS = 3
"""The latest tool results, which are cleared last."""

Version = list[BaseMessage]


class Versions(Sequence[Version]):
    """Versions that are made when they are looked at: of hundreds, only a few are.

    Args:
        number: how many there are.
        make: makes one, by its place.
    """

    def __init__(self, number: int, make: Callable[[int], Version]) -> None:
        self._places, self._make = range(number), make

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Version: ...

    @overload
    def __getitem__(self, place: slice) -> Versions: ...

    def __getitem__(self, place: int | slice) -> Version | Versions:
        if isinstance(place, int):
            return self._make(self._places[place])
        places = self._places[place]
        return Versions(len(places), lambda at: self._make(places[at]))


@dataclass(frozen=True, slots=True)
class Room:
    """How much context a call may have.

    Attributes:
        model: whose tokens are counted.
        limit: input tokens, at most.
        schemas: what is sent besides the messages, as text.
    """

    model: str
    limit: int
    schemas: Sequence[str] = ()

    def size(self, messages: Sequence[BaseMessage]) -> int:
        """Input tokens of a call with these messages."""
        return count(self.model, messages, self.schemas)

    def holds(self, messages: Sequence[BaseMessage]) -> bool:
        return self.size(messages) <= self.limit

    def longest(self, versions: Sequence[Version]) -> Version | None:
        """The first version that there is room for; None if there is for none. Later ones are shorter, or little longer
        where another message of the user's is put back."""
        place = bisect_left(versions, True, key=self.holds)
        if place < len(versions):
            return versions[place]
        return next(filter(self.holds, versions), None)


@dataclass(frozen=True, slots=True)
class History:
    """A history in pieces.

    Attributes:
        system: the system messages.
        turns: all others, in pieces that stand or fall together: a message, or tool calls with all their results.
    """

    system: list[BaseMessage]
    turns: list[list[BaseMessage]]

    @classmethod
    def of(cls, messages: Sequence[BaseMessage]) -> History:
        turns: list[list[BaseMessage]] = []
        for message in messages:
            if isinstance(message, SystemMessage):
                continue
            if isinstance(message, ToolMessage) and turns and _awaits(turns[-1], message):
                turns[-1].append(message)
            else:
                turns.append([message])
        return cls([message for message in messages if isinstance(message, SystemMessage)], turns)

    def since(self, first: int) -> Version:
        """The history from this turn on."""
        return [*self.system, *_flat(self.turns[first:])]

    def between(self, first: int, last: int) -> list[BaseMessage]:
        """The messages of the turns from ``first`` up to, and without, ``last``."""
        return _flat(self.turns[first:last])

    def asked_before(self, first: int) -> list[BaseMessage]:
        """The user's latest message before this turn, to put back if the turn is not the user's own: providers want
        one first, and it is what the rest is about."""
        if first < len(self.turns) and isinstance(self.turns[first][0], HumanMessage):
            return []
        earlier: list[BaseMessage] = [each for each in _flat(self.turns[:first]) if isinstance(each, HumanMessage)]
        return earlier[-1:]


def _flat(turns: Sequence[Sequence[BaseMessage]]) -> list[BaseMessage]:
    return [message for turn in turns for message in turn]


def _awaits(turn: Sequence[BaseMessage], result: ToolMessage) -> bool:
    head = turn[0]
    return isinstance(head, AIMessage) and any(call["id"] == result.tool_call_id for call in head.tool_calls)


def shortened(messages: Sequence[BaseMessage]) -> Sequence[Version]:
    """Ever shorter versions of a history, longest first: with old results cleared, then without the oldest turns."""
    whole = cleared(messages)
    history = History.of(whole[-1] if whole else messages)

    def make(place: int) -> Version:
        first = place - len(whole) + 1
        if first < 1:
            return whole[place]
        return [*history.system, *history.asked_before(first), *_flat(history.turns[first:])]

    number = len(whole) + max(0, len(history.turns) - 1)
    return Versions(number, make) if number else [list(messages)]


def cleared(messages: Sequence[BaseMessage]) -> list[Version]:
    """Versions with ever more old tool results cleared, in a few strides rather than one by one."""
    results = [
        i for i, message in enumerate(messages) if isinstance(message, ToolMessage) and message.content != CLEARED
    ]
    versions: list[Version] = []
    old = len(results) - KEPT_RESULTS
    for number in sorted({(old + 3) // 4, (old + 1) // 2, 3 * old // 4, old, len(results) - 1}):
        if number > 0:
            gone = set(results[:number])
            versions.append([_without_content(m) if i in gone else m for i, m in enumerate(messages)])
    return versions


def without_results(messages: Sequence[BaseMessage]) -> Version:
    """The messages with all tool results cleared, the latest too."""
    return [_without_content(message) if isinstance(message, ToolMessage) else message for message in messages]


_MOST_CLEARED = 4_096
_cleared_copies: dict[int, tuple[BaseMessage, BaseMessage]] = {}
"""Cleared copies made before, by the identity of their message: an agent sends its whole history at every step, and
tokens are counted anew for a message that is not the same as before."""


def _without_content(message: BaseMessage) -> BaseMessage:
    known = _cleared_copies.get(id(message))
    if known is not None and known[0] is message:
        return known[1]
    copy = message.model_copy(update={"content": CLEARED})
    if len(_cleared_copies) >= _MOST_CLEARED:
        _cleared_copies.clear()
    _cleared_copies[id(message)] = (message, copy)
    return copy


def behind(
    summary: BaseMessage,
    asked: Sequence[BaseMessage],
    rest: Sequence[BaseMessage],
    shorter: Callable[[Sequence[BaseMessage]], Sequence[Version]],
) -> Sequence[Version]:
    """A history, and shorter versions of it, behind the summary of what came before.

    Args:
        summary: stands behind the system messages.
        asked: what the user had asked for before; it opens a version that no other message of the user's does.
        rest: the history, system messages first.
        shorter: makes the shorter versions.
    """
    system, versions = len(History.of(rest).system), shorter(rest)

    def make(place: int) -> Version:
        version = versions[place - 1] if place else list(rest)
        kept = version[system:]
        opened = kept[:1] and isinstance(kept[0], HumanMessage)
        return [*version[:system], summary, *([] if opened else asked), *kept]

    return Versions(1 + len(versions), make)
