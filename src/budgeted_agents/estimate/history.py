"""Counting a conversation that grows: each message once.

An agent sends its whole history at every step, and tokenizing it anew would make every step dearer than the last. What
was counted is remembered at two levels: whole histories, so that one more message costs one message, and texts (by
hash), so that a history that was pruned, reordered or loaded anew costs no tokenizing either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from threading import Lock
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from budgeted_agents.estimate.texts import TextCounter
from budgeted_agents.estimate.tokens import Tokenizer

Message = TypeVar("Message")
Fields = Mapping[str, object]
Tool = str | Mapping[str, Any]

_content = itemgetter("content")

PER_CALL = 3
"""Tokens that start the answer in OpenAI's chat format; other providers' framing is learned by ``Margins``."""

PER_MESSAGE = 4
"""Tokens around a message: its start and end marks and its role."""

PER_TOOL = 12
"""Tokens around a tool's schema."""

IMAGE_TOKENS = 5_000
"""Most tokens one image makes with current models (Claude 4.7 and later: up to 4,784; OpenAI and Gemini less)."""

IMAGE_TOKENS_MINI = 48_200
"""The exception: gpt-4o-mini bills 2,833 tokens for an image and 5,667 for each of at most eight tiles."""

TOOL_INSTRUCTIONS = 350
"""What a provider may add when there are tools: 346 tokens with Claude 4 (its pricing page)."""

MOST_HISTORIES = 64
"""Histories remembered, and kept alive by that: the branches and sessions under way at a time."""

MOST_MESSAGES = 4_096
"""Messages remembered beyond their history, and kept alive by that."""


class Parts(Struct, frozen=True, gc=False):
    """What is counted in a message: its texts (tool calls as JSON), its images, and other tokens known beforehand."""

    texts: Sequence[str]
    images: int = 0
    tokens: int = 0


class PromptSize(Struct, frozen=True, gc=False):
    """Tokens and images of a message or a whole prompt, and how many messages have more than plain text as content."""

    tokens: int
    images: int = 0
    rich: int = 0

    def estimate(self, model: str) -> int:
        """Tokens for a model, images at the most they can make."""
        return self.tokens + self.images * image_tokens(model) if self.images else self.tokens


def image_tokens(model: str) -> int:
    """Most tokens an image makes with a model."""
    return IMAGE_TOKENS_MINI if "gpt-4o-mini" in model else IMAGE_TOKENS


class _History(Struct, Generic[Message], eq=False):
    """A message list as it was counted. Holds the messages, so that no other object can get their identity.

    ``is_first``: it goes on from no other. Such a one is kept when it grows, because sessions that begin alike, or a
    session that is begun again, come back to it.
    """

    messages: list[Message]
    fields: list[Fields]
    contents: list[object]
    total: PromptSize
    is_first: bool


class HistoryCounter(Generic[Message]):
    """Counts prompts for one tokenizer; one counter serves all sessions, branches and threads.

    A message is taken as unchanged while it is the same object (or an equal one) with the same content. A content
    replaced in place is counted anew; a content list that grows in place, or another field that changes, goes
    unnoticed.

    Args:
        tokenizer: see ``tokenizer_for``; models with the same tokenizer share a counter.
        parts_of: what to count in a message.
        fields_of: a message's fields by name, as the message itself keeps them (not a copy), with ``"content"`` among
            them: its ``__dict__`` by default; for a message that is a dict, the message.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        parts_of: Callable[[Message], Parts],
        fields_of: Callable[[Message], Fields] = vars,
    ) -> None:
        self._texts = TextCounter(tokenizer)
        self._instructions = 0 if tokenizer.exact else TOOL_INSTRUCTIONS
        self._parts_of = parts_of
        self._fields_of = fields_of
        self._lock = Lock()
        self._histories: dict[int, _History[Message]] = {}  # by the identity of their last message, latest last
        self._known: dict[int, tuple[Message, object, PromptSize]] = {}  # by the identity of the message
        self._tools: tuple[list[Tool], int] = ([], 0)

    def count(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> PromptSize:
        """The whole prompt: messages, framing, and tool schemas (JSON objects or their text)."""
        messages = list(messages)
        known = self._longest_beginning(messages)
        total = known.total if known is not None and len(known.messages) == len(messages) else None
        if total is None:
            total = self._counted(messages, known)
        return replace(total, tokens=total.tokens + self._tool_tokens(list(tools))) if tools else total

    def _longest_beginning(self, messages: list[Message]) -> _History[Message] | None:
        """The longest remembered history that ``messages`` goes on from: usually all but the last few messages.

        Lists compare identical items without looking into them, several times faster than any loop.
        """
        for last in reversed(messages):
            known = self._histories.get(id(last))
            if known is None or known.messages != messages[: len(known.messages)]:
                continue
            if list(map(_content, known.fields)) == known.contents:
                return known
        return None

    def _counted(self, messages: list[Message], base: _History[Message] | None) -> PromptSize:
        """The prompt, its new messages added to what is known of its beginning; remembered."""
        start = len(base.messages) if base is not None else 0
        new = messages[start:]
        fields = list(map(self._fields_of, new))
        contents = list(map(_content, fields))  # before counting, so that a change in between shows the next time
        total = self._added(base.total if base is not None else PromptSize(PER_CALL), new, contents)
        if base is not None:  # its own messages, not their equals: their fields are what is compared
            messages, fields, contents = base.messages + new, base.fields + fields, base.contents + contents
        if messages:
            self._remember(_History(messages, fields, contents, total, base is None), base)
        return total

    def _remember(self, history: _History[Message], base: _History[Message] | None) -> None:
        """Remember a history; instead of the one that it goes on from, unless that is a first one."""
        with self._lock:
            if base is not None and not base.is_first:
                self._histories.pop(id(base.messages[-1]), None)
            self._histories.pop(id(history.messages[-1]), None)
            self._histories[id(history.messages[-1])] = history
            if len(self._histories) > MOST_HISTORIES:
                del self._histories[next(iter(self._histories))]

    def _added(self, total: PromptSize, messages: list[Message], contents: list[object]) -> PromptSize:
        """The total with these messages; one that was seen in another order or another history is looked up."""
        tokens, images, rich = total.tokens, total.images, total.rich
        for message, content in zip(messages, contents, strict=True):
            seen = self._known.get(id(message))
            if seen is not None and seen[1] is content:
                tally = seen[2]
            else:
                parts = self._parts_of(message)
                own = PER_MESSAGE + parts.tokens + self._texts.count_all(parts.texts)
                tally = PromptSize(own, parts.images, 0 if isinstance(content, str) else 1)
                with self._lock:
                    self._known[id(message)] = (message, content, tally)
                    if len(self._known) > MOST_MESSAGES:
                        del self._known[next(iter(self._known))]
            tokens, images, rich = tokens + tally.tokens, images + tally.images, rich + tally.rich
        return PromptSize(tokens, images, rich)

    def _tool_tokens(self, tools: list[Tool]) -> int:
        known, tokens = self._tools
        if known != tools:
            tokens = self._instructions + sum([PER_TOOL + self._texts.count(_schema_text(tool)) for tool in tools])
            self._tools = (tools, tokens)
        return tokens


def _schema_text(tool: Tool) -> str:
    return tool if isinstance(tool, str) else json.dumps(tool, ensure_ascii=False, default=str)
