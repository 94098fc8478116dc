"""OpenAI's chat completions and embeddings on the wire."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

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

CREATED = 1_750_000_000
_DIMENSIONS = 8
_ERROR_KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def parse_chat(path: str, body: JsonObject, headers: Mapping[str, str]) -> Request:
    """The request of ``POST /v1/chat/completions``.

    Raises:
        RequestRejected: if the API would answer with a 400.
    """
    if body.get("n", 1) not in (1, None):
        raise RequestRejected("n: this provider answers with one choice only")
    messages = tuple(_message(index, raw) for index, raw in enumerate(body.get("messages") or ()))
    check_history(messages)
    return Request(
        path=path,
        model=model_of(body),
        messages=messages,
        tools=tuple(tool.get("function", tool) for tool in body.get("tools") or ()),
        forced_tool=_forced_tool(body.get("tool_choice")),
        max_output_tokens=_output_limit(body),
        stream=bool(body.get("stream")),
        include_usage=not body.get("stream") or bool((body.get("stream_options") or {}).get("include_usage")),
        json_schema=_json_schema(body.get("response_format") or {}),
        body=body,
        headers=headers,
    )


def chat_body(request: Request, answer: Answer) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [_wire_call(call) for call in answer.tool_calls]
    choice = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
    return _envelope(request, "chat.completion", [choice], None if answer.omit_usage else answer.usage)


def chat_events(request: Request, answer: Answer) -> Iterator[str]:
    """Server-sent events: the role, pieces of text, tool calls, the finish reason, usage if asked for, the end."""
    yield _chunk(request, {"role": "assistant", "content": ""})
    for piece in pieces(answer.text):
        yield _chunk(request, {"content": piece})
    for index, call in enumerate(answer.tool_calls):
        opening = {**_wire_call(call), "index": index}
        opening["function"] = {"name": call.name, "arguments": ""}
        yield _chunk(request, {"tool_calls": [opening]})
        yield _chunk(request, {"tool_calls": [{"index": index, "function": {"arguments": call.arguments_json}}]})
    yield _chunk(request, {}, answer.finish)
    if request.include_usage and not answer.omit_usage:
        yield sse(_envelope(request, "chat.completion.chunk", [], answer.usage))
    yield "data: [DONE]\n\n"


def parse_embeddings(path: str, body: JsonObject, headers: Mapping[str, str]) -> Request:
    """The request of ``POST /v1/embeddings``; texts and ready-made token ids are both taken."""
    texts, token_ids = [], 0
    for entry in embedding_inputs(body):
        if isinstance(entry, str):
            texts.append(Message("user", entry))
        else:
            token_ids += len(entry)
    return Request(path, model_of(body), tuple(texts), body=body, headers=headers, token_ids=token_ids)


def embeddings_body(request: Request, answer: Answer) -> JsonObject:
    encode = _base64 if request.body.get("encoding_format") == "base64" else list
    data = [
        {"object": "embedding", "index": index, "embedding": encode(_vector(entry))}
        for index, entry in enumerate(embedding_inputs(request.body))
    ]
    usage = {"prompt_tokens": answer.usage.input_tokens, "total_tokens": answer.usage.input_tokens}
    return {"object": "list", "data": data, "model": request.model, "usage": usage}


def embedding_inputs(body: JsonObject) -> list[Any]:
    """One entry, text or list of token ids, for each vector asked for."""
    given = body.get("input")
    if not given:
        raise RequestRejected("input: at least one text is required")
    is_single = isinstance(given, str) or isinstance(given[0], int)
    return [given] if is_single else list(given)


def models_body(models: Mapping[str, object]) -> JsonObject:
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "local"} for name in models]
    return {"object": "list", "data": data}


def error_body(status: int, message: str, kind: str | None = None) -> JsonObject:
    default = "invalid_request_error" if status < 500 else "server_error"
    kind = kind or _ERROR_KINDS.get(status, default)
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def model_of(body: JsonObject) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RequestRejected("model: a model's name is required")
    return model


def sse(data: JsonObject) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def text_of(content: object) -> str:
    """The text of a message's content, whether a string or a list of parts; other parts as JSON."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestRejected(f"messages: content has to be a string or a list of parts, not {type(content).__name__}")
    return "\n".join(_part_text(part) for part in content)


def arguments_of(text: str) -> JsonObject:
    """A tool call's arguments; text that is no JSON object is kept under ``_`` (models do send such)."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        return {"_": text}
    return arguments if isinstance(arguments, dict) else {"_": text}


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else json.dumps(part, ensure_ascii=False)


def _message(index: int, raw: JsonObject) -> Message:
    if "role" not in raw:
        raise RequestRejected(f"messages[{index}]: a role is required")
    role = "system" if raw["role"] == "developer" else raw["role"]
    calls = tuple(
        ToolCall(call["function"]["name"], arguments_of(call["function"]["arguments"]), call["id"])
        for call in raw.get("tool_calls") or ()
    )
    return Message(role, text_of(raw.get("content")), calls, raw.get("tool_call_id") or "")


def _forced_tool(choice: object) -> str:
    return str(choice["function"]["name"]) if isinstance(choice, dict) else ""


def _output_limit(body: JsonObject) -> int | None:
    new = check_output_limit(body.get("max_completion_tokens"), "max_completion_tokens")
    old = check_output_limit(body.get("max_tokens"), "max_tokens")
    if new is not None and old is not None:
        raise RequestRejected("max_tokens and max_completion_tokens: only one of them may be set")
    return old if new is None else new


def _json_schema(response_format: JsonObject) -> JsonObject | None:
    match response_format.get("type"):
        case "json_schema":
            return dict(response_format["json_schema"].get("schema", {}))
        case "json_object":
            return {}
    return None


def _wire_call(call: ToolCall) -> JsonObject:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}


def _chunk(request: Request, delta: JsonObject, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return sse(_envelope(request, "chat.completion.chunk", [choice], None))


def _envelope(request: Request, kind: str, choices: list[JsonObject], usage: TokenUsage | None) -> JsonObject:
    body: JsonObject = {
        "id": f"chatcmpl-{request.number}",
        "object": kind,
        "created": CREATED,
        "model": request.model,
        "choices": choices,
    }
    return body if usage is None else body | {"usage": _wire_usage(usage)}


def _wire_usage(usage: TokenUsage) -> JsonObject:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0},
    }


def _vector(entry: object) -> list[float]:
    """A vector that depends on the text alone."""
    return [byte / 255 for byte in hashlib.sha256(repr(entry).encode()).digest()[:_DIMENSIONS]]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
