"""What a call's arguments allow: which tiers may make it, and what each of them is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableBinding

from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.integrations.langchain.calls.introspect import LIMIT_FIELDS
from budgeted_agents.integrations.langchain.calls.messages import CACHE_CONTROL, FORMAT_FIELDS
from budgeted_agents.integrations.langchain.calls.quoting import Tier

MODEL = "model"
"""The argument by which a call asks for another model than the one it is made with."""

PARTICULAR = FORMAT_FIELDS | {MODEL}
"""Arguments that say which tiers may make a call."""


def tiers_for(tiers: Sequence[Tier], kwargs: Mapping[str, Any]) -> Sequence[Tier]:
    """The tiers that can make a call with these arguments, the first one under the name the call asks for.

    An answer in a format is read by what the first model's class has bound it with, so that no other class will do.
    """
    if name := kwargs.get(MODEL):
        tiers = (replace(tiers[0], name=name, provider=None if "/" in name else tiers[0].provider), *tiers[1:])
    if FORMAT_FIELDS.isdisjoint(kwargs):
        return tiers
    return tuple(tier for tier in tiers if type(tier.given) is type(tiers[0].given))


_OF_THINKING = frozenset({"reasoning_effort", "reasoning", "thinking", "verbosity"})
_OF_SAMPLING = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"})
"""What models take that think, and what OpenAI's models take only as long as they do not."""


def arguments_for(
    bound_for: BaseChatModel, target: BaseChatModel, kwargs: Mapping[str, Any], *, thinks: bool
) -> dict[str, Any]:
    """The call's arguments as a lower tier takes them.

    Models of one class take the same, but for what has to do with whether they think. Another class binds the tools
    anew, from the OpenAI-like form that every ``bind_tools`` takes, and is not given what it has no field for.

    Args:
        bound_for: the model they are for.
        target: the model of the tier, ``thinks`` whether it can think before it answers.
        kwargs: the arguments.
    """
    left_out = _OF_THINKING if not thinks else _OF_SAMPLING if introspect.is_openais(target) else frozenset()
    rest = {name: value for name, value in kwargs.items() if name != MODEL and name not in left_out}
    if type(bound_for) is type(target):
        return rest
    known = {*LIMIT_FIELDS, *type(target).model_fields}
    rest = {name: value for name, value in rest.items() if name in known}
    tools, choice = kwargs.get("tools"), _choice(kwargs)
    if not tools or choice == "none":
        return rest  # not every class can be told in words to use none
    bound = target.bind_tools(_without_cache(tools), **({"tool_choice": choice} if choice else {}))
    assert isinstance(bound, RunnableBinding)
    return {**rest, **bound.kwargs}


def messages_for(bound_for: BaseChatModel, target: BaseChatModel, messages: list[BaseMessage]) -> list[BaseMessage]:
    """The messages as a lower tier takes them. Another class is not told how the first provider is to cache them, nor
    given what only that one reads of its answers: signed thoughts, and what its own tools did."""
    if type(bound_for) is type(target):
        return messages
    return [
        message if isinstance(message.content, str) else message.model_copy(update={"content": _portable(message)})
        for message in messages
    ]


def _portable(message: BaseMessage) -> list[Any] | str:
    """The content blocks of a message that every provider reads. The tool calls of an answer stand beside them too."""
    blocks = _without_cache(message.content)
    if not isinstance(message, AIMessage):
        return blocks
    texts = [block["text"] if isinstance(block, dict) and block.get("type") == "text" else block for block in blocks]
    return [{"type": "text", "text": text} for text in texts if isinstance(text, str)] or ""


def _without_cache(parts: Sequence[Any]) -> list[Any]:
    """Tool schemas or content blocks without cache settings."""
    return [
        {name: value for name, value in part.items() if name != CACHE_CONTROL} if isinstance(part, dict) else part
        for part in parts
    ]


def _choice(kwargs: Mapping[str, Any]) -> str | None:
    """The tool choice in the words that every ``bind_tools`` understands."""
    choice = kwargs.get("tool_choice")
    if isinstance(choice, dict):
        named = choice.get("function", {}).get("name") or choice.get("name")
        choice = named or str(choice.get("type"))
    return "any" if choice == "required" else choice
