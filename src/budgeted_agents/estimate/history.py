"""Counting a conversation that grows: each message once.

An agent sends its whole history at every step, and tokenizing it anew would make every step dearer than the last. What
was counted is remembered at two levels: whole histories, so that one more message costs one message, and texts (by
hash), so that a history that was pruned, reordered or loaded anew costs no tokenizing either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from budgeted_agents.estimate.texts import TextCounter

Message = TypeVar("Message")
Fields = Mapping[str, object]
Tool = str | Mapping[str, Any]

_content = itemgetter("content")

PER_CALL = 3
"""Tokens that start the answer in OpenAI's chat format; other providers' framing is learnt by ``Margins``."""

PER_MESSAGE = 4
"""Tokens around a message: its start and end marks and its role."""

PER_TOOL = 12
"""Tokens around a tool's schema."""

IMAGE_TOKENS = 5_000
"""Most tokens one image makes with current models (Claude up to 4,800; OpenAI and Gemini less)."""

IMAGE_TOKENS_MINI = 48_200
"""The exception: gpt-4o-mini bills 2,833 tokens for an image and 5,667 for each of at most eight tiles."""

MOST_HISTORIES = 8
"""Histories remembered, and therefore kept alive: enough for the branches of one run."""


class Parts(NamedTuple):
    """What is counted in a message: its texts (tool calls as JSON), its images, and other tokens known beforehand."""

    texts: Sequence[str]
    images: int = 0
    tokens: int = 0


class Tally(NamedTuple):
    """Tokens and images of a message or a whole prompt."""

    tokens: int
    images: int = 0

    def estimate(self, model: str) -> int:
        """Tokens for a model, images at the most they can make."""
        return self.tokens + self.images * image_tokens(model) if self.images else self.tokens


def image_tokens(model: str) -> int:
    """Most tokens an image makes with a model."""
    return IMAGE_TOKENS_MINI if "gpt-4o-mini" in model else IMAGE_TOKENS


@dataclass(frozen=True, slots=True, eq=False)
class _History(Generic[Message]):
    """A message list as it was counted. Holds the messages, so that no other object can get their identity."""

    messages: list[Message]
    fields: list[Fields]
    contents: list[object]
    tallies: list[Tally]
    total: Tally

    def begins(self, messages: list[Message]) -> bool:
        """Whether ``messages`` is this history, perhaps with more behind it.

        Lists compare identical items without looking into them, several times faster than any loop. The last message is
        looked at first: it tells branches and reloaded histories apart at once.
        """
        size = len(self.messages)
        return (
            size <= len(messages)
            and (size == 0 or self.messages[-1] is messages[size - 1])
            and self.messages == messages[:size]
            and self.contents == list(map(_content, self.fields))
        )

    def known(self) -> dict[int, tuple[object, Tally]]:
        """Content and tally of each message by its identity."""
        return dict(zip(map(id, self.messages), zip(self.contents, self.tallies, strict=True), strict=True))


class HistoryCounter(Generic[Message]):
    """Counts the prompts of one run, its branches and threads included.

    A message is taken as unchanged while it is the same object (or an equal one) with the same content. A content
    replaced in place is counted anew; a content list that grows in place, or another field that changes, goes
    unnoticed.

    Args:
        texts: counts the texts; one for a tokenizer, shared by all runs.
        parts_of: what to count in a message.
        fields_of: a message's fields by name, as the message itself keeps them (not a copy), with ``"content"`` among
            them: its ``__dict__`` by default; for a message that is a dict, the message.
    """

    def __init__(
        self,
        texts: TextCounter,
        parts_of: Callable[[Message], Parts],
        fields_of: Callable[[Message], Fields] = vars,
    ) -> None:
        self._texts = texts
        self._parts_of = parts_of
        self._fields_of = fields_of
        self._lock = Lock()
        self._histories: tuple[_History[Message], ...] = ()
        self._tools: tuple[list[Tool], int] = ([], 0)

    def count(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Tally:
        """The whole prompt: messages, framing, and tool schemas (JSON objects or their text)."""
        history = self._history(list(messages))
        tokens, images = history.total
        return Tally(tokens + PER_CALL + (self._tool_tokens(list(tools)) if tools else 0), images)

    def _history(self, messages: list[Message]) -> _History[Message]:
        histories = self._histories  # replaced as a whole, never changed
        beginnings = [history for history in histories if history.begins(messages)]
        if not beginnings:
            return self._recounted(histories, messages)
        base = max(beginnings, key=lambda history: len(history.messages))
        return base if len(base.messages) == len(messages) else self._extended(base, messages)

    def _extended(self, base: _History[Message], messages: list[Message]) -> _History[Message]:
        new = messages[len(base.messages) :]
        fields = list(map(self._fields_of, new))
        contents = list(map(_content, fields))  # before counting, so that a change in between shows the next time
        tallies = list(map(self._tally, new))
        grown = _History(
            base.messages + new,
            base.fields + fields,
            base.contents + contents,
            base.tallies + tallies,
            _sum([base.total, *tallies]),
        )
        self._remember(grown, instead_of=base)
        return grown

    def _recounted(self, histories: Iterable[_History[Message]], messages: list[Message]) -> _History[Message]:
        fields = list(map(self._fields_of, messages))
        contents = list(map(_content, fields))
        found = _looked_up(histories, messages, contents)
        tallies = [tally or self._tally(message) for tally, message in zip(found, messages, strict=True)]
        counted: _History[Message] = _History(messages, fields, contents, tallies, _sum(tallies))
        self._remember(counted)
        return counted

    def _remember(self, history: _History[Message], instead_of: _History[Message] | None = None) -> None:
        with self._lock:
            others = [other for other in self._histories if other is not instead_of]
            self._histories = (history, *others[: MOST_HISTORIES - 1])

    def _tally(self, message: Message) -> Tally:
        texts, images, tokens = self._parts_of(message)
        return Tally(PER_MESSAGE + tokens + sum(map(self._texts.count, texts)), images)

    def _tool_tokens(self, tools: list[Tool]) -> int:
        known, tokens = self._tools
        if known != tools:
            tokens = sum([PER_TOOL + self._texts.count(_schema_text(tool)) for tool in tools])
            self._tools = (tools, tokens)
        return tokens


def _looked_up(
    histories: Iterable[_History[Message]], messages: Sequence[Message], contents: Sequence[object]
) -> list[Tally | None]:
    """Tallies of the messages that stand in a remembered history, wherever in it."""
    found: list[Tally | None] = [None] * len(messages)
    for history in histories:
        known = history.known()
        for place, message in enumerate(messages):
            if found[place] is None and (seen := known.get(id(message))) and seen[0] is contents[place]:
                found[place] = seen[1]
        if None not in found:
            break
    return found


def _schema_text(tool: Tool) -> str:
    return tool if isinstance(tool, str) else json.dumps(tool, ensure_ascii=False, default=str)


def _sum(tallies: Iterable[Tally]) -> Tally:
    counts = list(tallies)
    return Tally(sum([tally.tokens for tally in counts]), sum([tally.images for tally in counts]))
