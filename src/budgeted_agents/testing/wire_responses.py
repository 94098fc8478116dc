"""OpenAI's responses on the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

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
from budgeted_agents.testing.wire_anthropic import event
from budgeted_agents.testing.wire_openai import CREATED, arguments_of, model_of, text_of


def parse_responses(path: str, body: JsonObject, headers: Mapping[str, str]) -> Request:
    """The request of ``POST /v1/responses``.

    Raises:
        RequestRejected: if the API would answer with a 400, or for ``previous_response_id``: nothing is stored here.
    """
    if body.get("previous_response_id"):
        raise RequestRejected("previous_response_id: this provider stores no responses")
    history = _history(body.get("input") or ())
    check_history(history)
    instructions = text_of(body.get("instructions"))
    forced = body.get("tool_choice")
    return Request(
        path=path,
        model=model_of(body),
        messages=((Message("system", instructions), *history) if instructions else history),
        tools=tuple(body.get("tools") or ()),
        forced_tool=forced.get("name", "") if isinstance(forced, dict) else "",
        max_output_tokens=check_output_limit(body.get("max_output_tokens"), "max_output_tokens"),
        stream=bool(body.get("stream")),
        json_schema=_json_schema((body.get("text") or {}).get("format") or {}),
        body=body,
        headers=headers,
    )


def responses_body(request: Request, answer: Answer) -> JsonObject:
    is_cut = answer.finish == "length"
    return _envelope(request, "incomplete" if is_cut else "completed", _output(request, answer), answer)


def responses_events(request: Request, answer: Answer) -> Iterator[str]:
    """Server-sent events: created, each output item in pieces, and completed (or incomplete) with usage."""
    numbers = count()

    def numbered(name: str, data: JsonObject) -> str:
        return event(name, {"sequence_number": next(numbers), **data})

    yield numbered("response.created", {"response": _envelope(request, "in_progress", [], None)})
    for index, item in enumerate(_output(request, answer)):
        yield numbered("response.output_item.added", {"output_index": index, "item": _opening(item)})
        place = {"item_id": item["id"], "output_index": index}
        for name, data in _message_events(item) if item["type"] == "message" else _call_events(item):
            yield numbered(name, place | data)
        yield numbered("response.output_item.done", {"output_index": index, "item": item})
    final = responses_body(request, answer)
    yield numbered(f"response.{final['status']}", {"response": final})


def _history(given: object) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message("user", given),)
    if not isinstance(given, list):
        raise RequestRejected("input: a text or a list of items is required")
    history: list[Message] = []
    for item in given:
        _append(history, item)
    return tuple(history)


def _append(history: list[Message], item: JsonObject) -> None:
    """Adds an item; calls of tools join the assistant message before them."""
    match item.get("type", "message"):
        case "message":
            role = "system" if item["role"] == "developer" else item["role"]
            history.append(Message(role, text_of(item.get("content"))))
        case "function_call":
            call = ToolCall(item["name"], arguments_of(item["arguments"]), item["call_id"])
            before = history.pop() if history and history[-1].role == "assistant" else Message("assistant")
            history.append(Message("assistant", before.text, (*before.tool_calls, call)))
        case "function_call_output":
            history.append(Message("tool", text_of(item["output"]), tool_call_id=item["call_id"]))


def _json_schema(wanted: JsonObject) -> JsonObject | None:
    match wanted.get("type"):
        case "json_schema":
            return dict(wanted.get("schema", {}))
        case "json_object":
            return {}
    return None


def _output(request: Request, answer: Answer) -> list[JsonObject]:
    status = "incomplete" if answer.finish == "length" else "completed"
    items = [_wire_text(request, answer.text, status)] if answer.text or not answer.tool_calls else []
    return items + [_wire_call(call, status) for call in answer.tool_calls]


def _wire_text(request: Request, text: str, status: str) -> JsonObject:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {
        "type": "message",
        "id": f"msg_{request.number}",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _wire_call(call: ToolCall, status: str) -> JsonObject:
    return {
        "type": "function_call",
        "id": f"fc_{call.id}",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments_json,
        "status": status,
    }


def _opening(item: JsonObject) -> JsonObject:
    """An output item before its content has come."""
    empty: JsonObject = {"content": []} if item["type"] == "message" else {"arguments": ""}
    return item | empty | {"status": "in_progress"}


def _message_events(item: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    part = item["content"][0]
    yield "response.content_part.added", {"content_index": 0, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield "response.output_text.delta", {"content_index": 0, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {"content_index": 0, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {"content_index": 0, "part": part}


def _call_events(item: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    yield "response.function_call_arguments.delta", {"delta": item["arguments"]}
    yield "response.function_call_arguments.done", {"arguments": item["arguments"], "name": item["name"]}


def _envelope(request: Request, status: str, output: list[JsonObject], answer: Answer | None) -> JsonObject:
    is_cut = status == "incomplete"
    return {
        "id": f"resp_{request.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": request.body.get("instructions"),
        "model": request.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": list(request.tools),
        "metadata": {},
        "usage": None if answer is None or answer.omit_usage else _wire_usage(answer.usage),
    }


def _wire_usage(usage: TokenUsage) -> JsonObject:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
