"""What a fake model answers: it calls the tools it is given, fills the schema it is asked for, then says something."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from budgeted_agents.testing.answers import as_json

TEXT = "This answer was made by the doctor; no model was called."

OUTPUT_TOKENS = 64
"""Output tokens of each fake answer, unless the call allows fewer."""

_MOST_TOOLS = 4
"""How many tools are called at once."""


def answer(messages: Sequence[BaseMessage], arguments: Mapping[str, Any], usage: Any) -> AIMessage:
    """The fake answer to a call with these arguments (tools in OpenAI's or Anthropic's shape)."""
    schema = _response_schema(arguments)
    if schema is not None:
        text = as_json(TEXT, schema)
        return AIMessage(text, additional_kwargs={"parsed": json.loads(text)}, usage_metadata=usage)
    turn = _turn(messages)
    calls = [_call(tool, index, len(messages)) for index, tool in enumerate(_chosen(arguments, turn))]
    return AIMessage("" if calls else TEXT, tool_calls=calls, usage_metadata=usage)


def _turn(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What was said since the last question."""
    questions = [index for index, message in enumerate(messages) if isinstance(message, HumanMessage)]
    return list(messages[questions[-1] + 1 :]) if questions else []


def _chosen(arguments: Mapping[str, Any], turn: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The tools to call: the one that is forced; one after the other if one has to be; else several, once."""
    tools = [_function(tool) for tool in arguments.get("tools") or [] if _function(tool).get("name")]
    forced = arguments.get("tool_choice")
    name = _forced_name(forced)
    if name:
        return [tool for tool in tools if tool["name"] == name]
    if tools and _must_call(forced):
        answered = sum(isinstance(message, AIMessage) for message in turn)
        return [tools[min(answered, len(tools) - 1)]]
    return [] if any(isinstance(message, ToolMessage) for message in turn) else tools[:_MOST_TOOLS]


def _function(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        return {}
    return dict(tool.get("function") or tool)


def _forced_name(choice: Any) -> str:
    if not isinstance(choice, Mapping):
        return ""
    return str((choice.get("function") or {}).get("name") or choice.get("name") or "")


def _must_call(choice: Any) -> bool:
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    return kind in ("any", "required", True)


def _call(tool: Mapping[str, Any], index: int, length: int) -> Any:
    schema = tool.get("parameters") or tool.get("input_schema") or {}
    arguments = json.loads(as_json(TEXT, {"type": "object", **schema}))
    return {"name": tool["name"], "args": arguments, "id": f"doctor_{length}_{index}"}


def _response_schema(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    wanted: Any = arguments.get("response_format")
    if hasattr(wanted, "model_json_schema"):
        return dict(wanted.model_json_schema())
    if not isinstance(wanted, Mapping):
        return None
    return dict((wanted.get("json_schema") or {}).get("schema") or {})
