"""Gemini's ``generateContent`` on the wire. Its tool calls have no ids: a result names the tool it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

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
from budgeted_agents.testing.wire_openai import sse

ROUTE = re.compile(r"/v1(?:beta)?/models/(?P<model>[^/:]+):(?P<verb>generateContent|streamGenerateContent)")

_FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}


def parse_contents(path: str, body: JsonObject, headers: Mapping[str, str]) -> Request:
    """The request of ``POST /v1beta/models/<model>:generateContent`` or ``:streamGenerateContent``.

    Raises:
        RequestRejected: if the API would answer with a 400.
    """
    route = ROUTE.fullmatch(path)
    if route is None:
        raise RequestRejected(f"{path} names no model", status=404, kind="not_found_error")
    config = body.get("generationConfig") or {}
    if config.get("candidateCount", 1) != 1:
        raise RequestRejected("generationConfig.candidateCount: this provider answers with one candidate only")
    history = tuple(_messages(body.get("contents") or ()))
    check_history(history)
    system = _text(_parts(body.get("systemInstruction") or {}))
    functions = [function for tool in body.get("tools") or () for function in tool.get("functionDeclarations") or ()]
    return Request(
        path=path,
        model=route["model"],
        messages=((Message("system", system), *history) if system else history),
        tools=tuple(functions),
        forced_tool=_forced_tool(body),
        max_output_tokens=check_output_limit(config.get("maxOutputTokens"), "generationConfig.maxOutputTokens"),
        stream=route["verb"] == "streamGenerateContent",
        json_schema=_json_schema(config),
        body=body,
        headers=headers,
    )


def contents_body(request: Request, answer: Answer) -> JsonObject:
    parts: list[JsonObject] = [{"text": answer.text}] if answer.text else []
    parts += [_wire_call(call) for call in answer.tool_calls]
    return _envelope(request, parts, answer, is_last=True)


def contents_events(request: Request, answer: Answer) -> Iterator[str]:
    """Server-sent events: pieces of text, the tool calls, and at last the finish reason. Each has the usage so far."""
    texts = pieces(answer.text)
    for sent, piece in enumerate(texts, start=1):
        yield sse(_envelope(request, [{"text": piece}], _so_far(answer, sent, len(texts) + 1)))
    yield sse(_envelope(request, [_wire_call(call) for call in answer.tool_calls], answer, is_last=True))


def error_body(status: int, message: str, kind: str | None = None) -> JsonObject:
    name = _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "UNAVAILABLE" if status == 503 else "INTERNAL")
    return {"error": {"code": status, "message": message, "status": name}}


def _messages(contents: Sequence[JsonObject]) -> Iterator[Message]:
    """The history as ours. Ids are made for tool calls, and given to the results that follow, tool by tool."""
    waiting: list[ToolCall] = []
    for index, content in enumerate(contents):
        parts, role = _parts(content), content.get("role", "user")
        if role not in ("user", "model"):
            raise RequestRejected(f"contents[{index}].role: {role!r} is not one of user, model")
        if not parts:
            raise RequestRejected(f"contents[{index}].parts: at least one part is required")
        if role == "model":
            called = [part["functionCall"] for part in parts if "functionCall" in part]
            waiting = [ToolCall(c["name"], c.get("args") or {}, f"{index}.{n}") for n, c in enumerate(called)]
            yield Message("assistant", _text(parts), tuple(waiting))
            continue
        for part in parts:
            result = part.get("functionResponse")
            if result is None:
                yield Message("user", _text([part]))
            else:
                yield Message("tool", str(result.get("response")), tool_call_id=_answered(waiting, result["name"]))


def _answered(waiting: list[ToolCall], tool: str) -> str:
    """The id of the first call of a tool that has no result yet; it has one from now on."""
    for call in waiting:
        if call.name == tool:
            waiting.remove(call)
            return call.id
    return tool


def _parts(content: JsonObject) -> list[JsonObject]:
    return list(content.get("parts") or ())


def _text(parts: Sequence[JsonObject]) -> str:
    return "\n".join(str(part["text"]) for part in parts if "text" in part)


def _forced_tool(body: JsonObject) -> str:
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = list(calling.get("allowedFunctionNames") or ())
    return str(allowed[0]) if calling.get("mode") == "ANY" and len(allowed) == 1 else ""


def _json_schema(config: JsonObject) -> JsonObject | None:
    if config.get("responseMimeType") != "application/json":
        return None
    return dict(config.get("responseJsonSchema") or config.get("responseSchema") or {})


def _envelope(request: Request, parts: list[JsonObject], answer: Answer, *, is_last: bool = False) -> JsonObject:
    candidate: JsonObject = {"content": {"role": "model", "parts": parts}, "index": 0}
    if is_last:
        candidate["finishReason"] = _FINISH_REASONS[answer.finish]
    body = {"candidates": [candidate], "modelVersion": request.model, "responseId": f"response-{request.number}"}
    return body if answer.omit_usage else body | {"usageMetadata": _wire_usage(answer.usage)}


def _so_far(answer: Answer, sent: int, events: int) -> Answer:
    """The answer with the output tokens of the events sent so far; it thinks before the first one."""
    thought = answer.usage.reasoning_tokens
    output = thought + (answer.usage.output_tokens - thought) * sent // events
    return replace(answer, usage=replace(answer.usage, output_tokens=output))


def _wire_usage(usage: TokenUsage) -> JsonObject:
    """Here thoughts stand beside the candidates' tokens, and cached content inside the prompt's."""
    return {
        "promptTokenCount": usage.input_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }


def _wire_call(call: ToolCall) -> JsonObject:
    return {"functionCall": {"name": call.name, "args": dict(call.arguments)}}
