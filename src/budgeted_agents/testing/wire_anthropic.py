"""Anthropic's messages on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from budgeted_agents.testing.answers import pieces
from budgeted_agents.testing.conversation import (
    Answer,
    JsonObject,
    Message,
    Request,
    RequestRejected,
    TokenUsage,
    ToolCall,
)
from budgeted_agents.testing.histories import check_history, check_output_limit
from budgeted_agents.testing.wire_openai import model_of, text_of

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERROR_KINDS = {
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def parse_messages(path: str, body: JsonObject, headers: Mapping[str, str]) -> Request:
    """The request of ``POST /v1/messages``.

    Raises:
        RequestRejected: if the API would answer with a 400.
    """
    limit = check_output_limit(body.get("max_tokens"), "max_tokens")
    if limit is None:
        raise RequestRejected("max_tokens: this field is required")
    if (body.get("thinking") or {}).get("budget_tokens", 0) >= limit:
        raise RequestRejected("`max_tokens` must be greater than `thinking.budget_tokens`")
    history = tuple(message for index, raw in enumerate(body.get("messages") or ()) for message in _split(index, raw))
    check_history(history)
    if history[0].role != "user":
        raise RequestRejected("messages[0].role: the first message has to be the user's")
    system = text_of(body.get("system"))
    forced = body.get("tool_choice") or {}
    return Request(
        path=path,
        model=model_of(body),
        messages=((Message("system", system), *history) if system else history),
        tools=tuple(body.get("tools") or ()),
        forced_tool=forced.get("name", "") if forced.get("type") == "tool" else "",
        max_output_tokens=limit,
        stream=bool(body.get("stream")),
        json_schema=_json_schema(body),
        body=body,
        headers=headers,
    )


def messages_body(request: Request, answer: Answer) -> JsonObject:
    content = [{"type": "text", "text": answer.text}] if answer.text else []
    content += [_wire_call(call, call.arguments) for call in answer.tool_calls]
    return _envelope(request, content, _STOP_REASONS[answer.finish], answer)


def messages_events(request: Request, answer: Answer) -> Iterator[str]:
    """Server-sent events: the start with the input's usage, the content's blocks, the output's usage, the end."""
    yield event("message_start", {"message": _envelope(request, [], None, answer, output_tokens=1)})
    blocks = [_text_events(answer.text)] if answer.text else []
    blocks += [_call_events(call) for call in answer.tool_calls]
    for index, (block, deltas) in enumerate(blocks):
        yield event("content_block_start", {"index": index, "content_block": block})
        for delta in deltas:
            yield event("content_block_delta", {"index": index, "delta": delta})
        yield event("content_block_stop", {"index": index})
    end: JsonObject = {"delta": {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": None}}
    yield event("message_delta", end if answer.omit_usage else end | {"usage": _wire_usage(answer.usage)})
    yield event("message_stop", {})


def error_body(status: int, message: str, kind: str | None = None) -> JsonObject:
    default = "invalid_request_error" if status < 500 else "api_error"
    kind = _ERROR_KINDS.get(status, default) if kind in (None, "server_error") else kind
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_local"}


def event(name: str, data: JsonObject) -> str:
    """One named server-sent event, its name repeated as the data's type."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **data}, ensure_ascii=False)}\n\n"


def _split(index: int, raw: JsonObject) -> Iterator[Message]:
    """One message of the wire as ours: tool results, which the wire puts into user messages, stand alone."""
    role, content = raw.get("role"), raw.get("content")
    if role not in ("user", "assistant"):
        raise RequestRejected(f"messages[{index}].role: {role!r} is not one of user, assistant")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    if not blocks or any(block["type"] == "text" and not block["text"] for block in blocks):
        raise RequestRejected(f"messages[{index}].content: text must not be empty")
    if role == "assistant":
        yield _assistant(blocks)
        return
    for block in blocks:
        if block["type"] == "tool_result":
            yield Message("tool", text_of(block.get("content")), tool_call_id=block["tool_use_id"])
        else:
            yield Message("user", text_of([block]))


def _assistant(blocks: list[JsonObject]) -> Message:
    calls = tuple(
        ToolCall(block["name"], block["input"], block["id"]) for block in blocks if block["type"] == "tool_use"
    )
    return Message("assistant", text_of([block for block in blocks if block["type"] != "tool_use"]), calls)


def _json_schema(body: JsonObject) -> JsonObject | None:
    wanted = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    return dict(wanted.get("schema", {})) if wanted.get("type") == "json_schema" else None


def _envelope(
    request: Request,
    content: list[JsonObject],
    stop_reason: str | None,
    answer: Answer,
    output_tokens: int | None = None,
) -> JsonObject:
    body: JsonObject = {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }
    usage = _wire_usage(answer.usage, output_tokens)
    usage |= {name: request.body[name] for name in ("inference_geo", "speed") if name in request.body}
    return body if answer.omit_usage else body | {"usage": usage}


def _wire_usage(usage: TokenUsage, output_tokens: int | None = None) -> JsonObject:
    """Here the input excludes what was read from the cache or written to it."""
    return {
        "input_tokens": usage.uncached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens if output_tokens is None else output_tokens,
    }


def _wire_call(call: ToolCall, arguments: Mapping[str, object]) -> JsonObject:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(arguments)}


def _text_events(text: str) -> tuple[JsonObject, list[JsonObject]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(text)]


def _call_events(call: ToolCall) -> tuple[JsonObject, list[JsonObject]]:
    return _wire_call(call, {}), [{"type": "input_json_delta", "partial_json": call.arguments_json}]
