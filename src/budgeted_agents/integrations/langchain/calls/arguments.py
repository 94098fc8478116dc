"""Handing a call's tools from the model they were bound for to another one."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding


def tools_for(bound_for: BaseChatModel, target: BaseChatModel, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The call's arguments with its tools in the target's own format.

    Tools stand in ``kwargs`` as the first model's provider wants them. Models of one class share the format; another
    class binds them anew, from the OpenAI-like form that every ``bind_tools`` takes.
    """
    tools = kwargs.get("tools")
    if not tools or type(bound_for) is type(target):
        return kwargs
    rest = {name: value for name, value in kwargs.items() if name not in ("tools", "tool_choice")}
    choice = _choice(kwargs)
    if choice == "none":
        return rest  # not every class can be told so in words
    bound = target.bind_tools(_plain(tools), **({"tool_choice": choice} if choice else {}))
    assert isinstance(bound, RunnableBinding)
    return {**rest, **bound.kwargs}


def _plain(tools: list[Any]) -> list[Any]:
    """Tool schemas without provider-specific cache settings."""
    return [
        {name: value for name, value in tool.items() if name != "cache_control"} if isinstance(tool, dict) else tool
        for tool in tools
    ]


def _choice(kwargs: dict[str, Any]) -> str | None:
    """The tool choice in the words that every ``bind_tools`` understands."""
    choice = kwargs.get("tool_choice")
    if isinstance(choice, dict):
        named = choice.get("function", {}).get("name") or choice.get("name")
        choice = named or str(choice.get("type"))
    return "any" if choice == "required" else choice
