"""What a request asks and what a reply says, in one form for every provider's wire format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from budgeted_agents.errors import BudgetedAgentsError, InvalidUsage

JsonObject = dict[str, Any]
TokenCounter = Callable[[str], int]

MESSAGE_OVERHEAD = 4
"""Input tokens added for each message, for its role and delimiters."""


class RequestRejected(BudgetedAgentsError):
    """The provider does not accept a request; it is answered with this HTTP status and not billed."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error") -> None:
        self.message = message
        self.status = status
        self.kind = kind
        super().__init__(message)


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool: its name, its arguments, and the id that its result has to name.

    An empty id is replaced by one made from the request's number.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def arguments_json(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Message:
    """One message of a history. ``role`` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    @property
    def billed_text(self) -> str:
        """Everything of the message that counts as tokens."""
        return self.text + "".join(call.name + call.arguments_json for call in self.tool_calls)


@dataclass(frozen=True)
class Request:
    """A model call as it reached the provider.

    Attributes:
        path: the route, e.g. ``"/v1/chat/completions"``.
        model: the model asked for.
        messages: the history, system messages first if they were sent apart.
        tools: the tools offered, each with at least a ``name``.
        forced_tool: the name of the tool that has to be called, if one is forced.
        max_output_tokens: the limit on output tokens, or None.
        stream: whether the answer is streamed.
        include_usage: whether a stream is to report usage.
        json_schema: the schema asked for, ``{}`` for any JSON object, None for plain text.
        body: the JSON body as sent.
        headers: the HTTP headers, names in lower case.
        number: 1 for the first model call the provider accepted, and so on.
        token_ids: number of ready-made token ids sent instead of text (embeddings).
    """

    path: str
    model: str
    messages: tuple[Message, ...]
    tools: tuple[JsonObject, ...] = ()
    forced_tool: str = ""
    max_output_tokens: int | None = None
    stream: bool = False
    include_usage: bool = True
    json_schema: JsonObject | None = None
    body: JsonObject = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    number: int = 0
    token_ids: int = 0

    @property
    def system(self) -> str:
        """The text of all system messages."""
        return "\n".join(message.text for message in self.messages if message.role == "system")

    @property
    def user_texts(self) -> tuple[str, ...]:
        """The text of each user message, in order."""
        return tuple(message.text for message in self.messages if message.role == "user")

    @property
    def tool_results(self) -> tuple[str, ...]:
        """The text of each tool result, in order."""
        return tuple(message.text for message in self.messages if message.role == "tool")

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(str(tool["name"]) for tool in self.tools)

    def count_input(self, count: TokenCounter) -> int:
        """Input tokens: each message's text plus an overhead, and the schemas, as JSON."""
        messages = sum(count(message.billed_text) + MESSAGE_OVERHEAD for message in self.messages)
        return messages + self.count_schemas(count) + self.token_ids

    def count_schemas(self, count: TokenCounter) -> int:
        """Input tokens of the tools offered and of the schema asked for."""
        schemas = (schema for schema in (self.tools, self.json_schema) if schema)
        return sum(count(json.dumps(schema, ensure_ascii=False)) for schema in schemas)


@dataclass(frozen=True)
class Reply:
    """What the provider does with one request.

    Attributes:
        text: the answer; with a status of 400 or more, the error message.
        tool_calls: tools the model calls.
        input_tokens: input tokens to bill, cached ones included; counted if None.
        output_tokens: output tokens before the request's limit, reasoning included; counted if None.
        cached_tokens: how many of the input tokens were read from the provider's cache.
        cache_write_tokens: how many of the input tokens were written to it (Anthropic).
        reasoning_tokens: how many of the output tokens are hidden reasoning.
        delay: seconds before the answer begins.
        chunk_delay: seconds before each event of a stream.
        status: HTTP status; 400 and more is an error in the provider's shape.
        headers: further HTTP headers, e.g. ``{"retry-after": "0"}``.
        omit_usage: leave usage out of the answer (it is billed all the same).
        cut_after: close the connection after this many events of a stream, or half way through a plain body.
        reset: reset the connection instead of answering; with ``cut_after``, instead of closing it.
        hang: answer never; with ``cut_after``, go silent there. Ends when the provider closes or the client leaves.
        billed: whether it is billed. By default every answer is, and of the error statuses only 502 and 504: a
            gateway's failure says nothing about the model behind it, which may have run.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] | list[ToolCall] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    delay: float = 0.0
    chunk_delay: float = 0.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    omit_usage: bool = False
    cut_after: int | None = None
    reset: bool = False
    hang: bool = False
    billed: bool | None = None

    @property
    def is_error(self) -> bool:
        return self.status >= 400

    @property
    def is_billed(self) -> bool:
        return self.billed if self.billed is not None else (not self.is_error or self.status in (502, 504))


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one call. Cached and cache-write tokens are part of the input, reasoning is part of the output.

    Raises:
        InvalidUsage: if a count is negative or a part exceeds its whole.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        for name, tokens in vars(self).items():
            if tokens < 0:
                raise _bad_usage("is negative", name, tokens)
        if self.cached_tokens + self.cache_write_tokens > self.input_tokens:
            raise _bad_usage("exceeds input_tokens", "cached_tokens", self.cached_tokens + self.cache_write_tokens)
        if self.reasoning_tokens > self.output_tokens:
            raise _bad_usage("exceeds output_tokens", "reasoning_tokens", self.reasoning_tokens)

    @property
    def uncached_tokens(self) -> int:
        """Input tokens at the full rate."""
        return self.input_tokens - self.cached_tokens - self.cache_write_tokens


@dataclass(frozen=True)
class Answer:
    """A reply as it goes over the wire: within the request's limit, its tokens counted.

    ``finish`` is ``stop``, ``length`` or ``tool_calls``.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish: str
    usage: TokenUsage
    omit_usage: bool = False


def _bad_usage(problem: str, name: str, tokens: int) -> InvalidUsage:
    return InvalidUsage(
        problem,
        field=name,
        value=tokens,
        place="Reply of the local provider",
        remedy="Correct the reply's token counts",
    )
