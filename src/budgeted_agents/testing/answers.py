"""From a reply to the answer that is sent: count its tokens and cut it at the request's limit. Pure."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import replace

from budgeted_agents.testing.conversation import (
    Answer,
    JsonObject,
    Reply,
    Request,
    TokenCounter,
    TokenUsage,
    ToolCall,
)
from budgeted_agents.testing.samples import sample

_MAX_PIECES = 32


def count_tokens(text: str) -> int:
    """The default rule: one token for every four bytes of UTF-8, rounded up. Deterministic, and about right."""
    return -(-len(text.encode()) // 4)


def answer_to(request: Request, reply: Reply, count: TokenCounter, cached_tokens: int = 0) -> Answer:
    """The answer a reply gives to a request.

    A reply over the request's limit ends with ``length``: its text is cut, and its tool calls, which come last,
    are lost. ``cached_tokens`` is what the prompt cache found; the reply's own figure comes first.
    """
    text = as_json(reply.text, request.json_schema) if request.json_schema is not None else reply.text
    calls = _with_ids(tuple(reply.tool_calls) or _forced_calls(request, reply.text), request.number)
    wanted = _output_tokens(reply, text, calls, count)
    limit = wanted if request.max_output_tokens is None else request.max_output_tokens
    is_cut = wanted > limit
    input_tokens = request.count_input(count) if reply.input_tokens is None else reply.input_tokens
    usage = TokenUsage(
        input_tokens=input_tokens,
        output_tokens=min(wanted, limit),
        cached_tokens=min(reply.cached_tokens or cached_tokens, input_tokens),
        cache_write_tokens=reply.cache_write_tokens,
        reasoning_tokens=min(reply.reasoning_tokens, limit),
    )
    return Answer(
        text=_cut(text, limit - usage.reasoning_tokens, count) if is_cut else text,
        tool_calls=() if is_cut else calls,
        finish="length" if is_cut else "tool_calls" if calls else "stop",
        usage=usage,
        omit_usage=reply.omit_usage,
    )


def pieces(text: str) -> list[str]:
    """The text in the pieces a stream sends: words, or groups of words if there are many."""
    words = text.split(" ")
    step = -(-len(words) // _MAX_PIECES)
    groups = [" ".join(words[start : start + step]) for start in range(0, len(words), step)]
    return [group if index == 0 else f" {group}" for index, group in enumerate(groups)] if text else []


def as_json(text: str, schema: JsonObject) -> str:
    """The text if it is JSON already, otherwise an object of the schema with the text in its string fields."""
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(sample(schema, text) if schema else {"text": text}, ensure_ascii=False)
    return text


def _forced_calls(request: Request, text: str) -> tuple[ToolCall, ...]:
    """A call of the tool that the request forces, with the simplest arguments its schema allows."""
    schemas = [tool.get("parameters") or tool.get("input_schema") or {} for tool in request.tools]
    forced = [schema for schema, name in zip(schemas, request.tool_names, strict=True) if name == request.forced_tool]
    arguments = [sample({"type": "object", **schema}, text) for schema in forced[:1]]
    return tuple(ToolCall(request.forced_tool, value) for value in arguments if isinstance(value, dict))


def _output_tokens(reply: Reply, text: str, calls: tuple[ToolCall, ...], count: TokenCounter) -> int:
    if reply.output_tokens is not None:
        return reply.output_tokens
    return count(text) + sum(count(call.name + call.arguments_json) for call in calls) + reply.reasoning_tokens


def _with_ids(calls: tuple[ToolCall, ...], number: int) -> tuple[ToolCall, ...]:
    return tuple(
        call if call.id else replace(call, id=f"call_{number}_{index}") for index, call in enumerate(calls, start=1)
    )


def _cut(text: str, limit: int, count: TokenCounter) -> str:
    """The longest beginning of the text that counts as at most ``limit`` tokens."""
    length = bisect_right(range(len(text) + 1), limit, key=lambda end: count(text[:end])) - 1
    return text[: max(0, length)]
