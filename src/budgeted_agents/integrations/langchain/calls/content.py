"""What model and tool calls say, in the form of the GenAI conventions, for recorders that were asked to keep it.

While a call goes on only its own objects are held. They are put into that form when the call has ended, the newest
messages first and no more of them than are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, takewhile
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ChatMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import add_ai_message_chunks

from budgeted_agents.integrations.langchain.calls.messages import finish_reason
from budgeted_agents.traces.records import content as names
from budgeted_agents.traces.records.content import Written

Part = dict[str, Any]

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "function": "tool"}
"""What the conventions call LangChain's types of messages, where it is another name."""

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_calls": "tool_call",
    "tool_use": "tool_call",
    "function_call": "tool_call",
    "refusal": "content_filter",
    "safety": "content_filter",
}
"""What the conventions call the providers' reasons, where it is another name."""


class ModelContent:
    """A model call's prompt and, once it has ended, its answers."""

    def __init__(self, prompt: Sequence[BaseMessage]) -> None:
        self._prompt = tuple(prompt)
        self._answers: tuple[BaseMessage, ...] = ()
        self._is_whole = True

    def answered(self, answer: Sequence[BaseMessage], *, whole: bool = True) -> None:
        """A message for each answer, or one answer in chunks; ``whole`` says whether all of it has come."""
        self._answers, self._is_whole = tuple(answer), whole

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        written = Written()
        instructions = tuple(takewhile(lambda message: isinstance(message, SystemMessage), self._prompt))
        history = self._prompt[len(instructions) :]
        written.add_list(names.SYSTEM, chain.from_iterable(map(_parts, instructions)))
        written.add_list(names.INPUT, map(_message, reversed(history)), newest_first=True)
        written.add_list(names.OUTPUT, self._output())
        return written.attributes

    def _output(self) -> Iterable[Part]:
        for answer in _merged(self._answers):
            message = _message(answer)
            if message["parts"] or self._is_whole:
                yield message | {"finish_reason": _finish_reason(answer, self._is_whole)}


class ToolContent:
    """A tool call's arguments and, once it has ended, its result."""

    def __init__(self, arguments: Any) -> None:
        self._arguments = arguments
        self._result: Any = None

    def answered(self, answer: Any, *, whole: bool = True) -> None:
        """What the tool gave back; it never comes in parts."""
        self._result = answer

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        written = Written()
        result = self._result.content if isinstance(self._result, ToolMessage) else self._result
        for name, value in ((names.ARGUMENTS, self._arguments), (names.RESULT, result)):
            if value is not None:
                written.add_value(name, value)
        return written.attributes


def _merged(answers: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Answers, each in one message; a stream has one, in chunks."""
    chunks = [answer for answer in answers if isinstance(answer, AIMessageChunk)]
    return [add_ai_message_chunks(*chunks)] if chunks and len(chunks) == len(answers) else answers


def _message(message: BaseMessage) -> Part:
    role = message.role if isinstance(message, ChatMessage) else _ROLES.get(message.type, message.type)
    said = {"role": role, "parts": list(_parts(message))}
    return said | {"name": message.name} if message.name else said


def _parts(message: BaseMessage) -> Iterable[Part]:
    if isinstance(message, ToolMessage):
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.content}]
    blocks = message.content_blocks
    return map(_part, [*blocks, *_missing_calls(message, blocks)])


def _missing_calls(message: BaseMessage, blocks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Calls of tools that LangChain leaves out of the blocks: those whose arguments are no JSON, or that have no id."""
    if not isinstance(message, AIMessage):
        return []
    named = {block.get("id") for block in blocks if "tool_call" in block["type"]}
    calls: list[Mapping[str, Any]] = [*message.tool_calls, *message.invalid_tool_calls]
    return [{**call, "type": "tool_call"} for call in calls if call.get("id") not in named]


def _part(block: Any) -> Part:
    """A content block of LangChain's as a part; a kind that the conventions do not know is a part of its own kind."""
    return _PARTS.get(block["type"], dict)(block)


def _text(block: Mapping[str, Any]) -> Part:
    return {"type": "text", "content": block["text"]}


def _plain_text(block: Mapping[str, Any]) -> Part:
    return _text(block) if "text" in block else _media(block)


def _reasoning(block: Mapping[str, Any]) -> Part:
    return {"type": "reasoning", "content": block.get("reasoning", "")}


def _tool_call(block: Mapping[str, Any]) -> Part:
    arguments = _read(block.get("args"))
    return {"type": "tool_call", "id": block.get("id"), "name": block.get("name") or "", "arguments": arguments}


def _read(arguments: Any) -> Any:
    """Arguments as an object; as they are where that is impossible, as in a stream that broke off."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def _server_tool_call(block: Mapping[str, Any]) -> Part:
    name = block.get("name") or ""
    called = {"type": name, "arguments": _read(block.get("args"))}
    return {"type": "server_tool_call", "id": block.get("id"), "name": name, "server_tool_call": called}


def _server_tool_result(block: Mapping[str, Any]) -> Part:
    result = {"type": block.get("status", "success"), "output": block.get("output")}
    return {"type": "server_tool_call_response", "id": block.get("tool_call_id"), "server_tool_call_response": result}


def _media(block: Mapping[str, Any]) -> Part:
    """Data in the message itself, or where it is."""
    modality = _MODALITIES.get(block["type"], "document")
    part = {"modality": modality, "mime_type": block.get("mime_type")}
    url, data = block.get("url"), block.get("base64")
    if isinstance(url, str) and url.startswith("data:"):
        head, _, data = url.partition(",")
        part["mime_type"] = head.removeprefix("data:").partition(";")[0] or part["mime_type"]
    elif url:
        return {"type": "uri", **part, "uri": url}
    if data:
        return {"type": "blob", **part, "content": data}
    return {"type": "file", **part, "file_id": block.get("file_id", "")}


def _other(block: Mapping[str, Any]) -> Part:
    """What is left of a provider's own block."""
    return {"type": "non_standard", **block["value"]}


_MODALITIES = {kind: kind for kind in ("image", "audio", "video")}

_PARTS: Mapping[str, Callable[[Mapping[str, Any]], Part]] = {
    "text": _text,
    "text-plain": _plain_text,
    "reasoning": _reasoning,
    "tool_call": _tool_call,
    "tool_call_chunk": _tool_call,
    "invalid_tool_call": _tool_call,
    "server_tool_call": _server_tool_call,
    "server_tool_call_chunk": _server_tool_call,
    "server_tool_result": _server_tool_result,
    "image": _media,
    "audio": _media,
    "video": _media,
    "file": _media,
    "non_standard": _other,
}


def _finish_reason(answer: BaseMessage, is_whole: bool) -> str:
    if reason := finish_reason(answer).lower():
        return _FINISH_REASONS.get(reason, reason)
    if not is_whole:
        return "error"
    return "tool_call" if isinstance(answer, AIMessage) and answer.tool_calls else "stop"
