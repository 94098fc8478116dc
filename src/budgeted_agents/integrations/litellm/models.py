"""A chat model for a LiteLLM name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from budgeted_agents.errors import InvalidGraph

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


def stay_offline() -> None:
    """To be called before LiteLLM is imported: it would fetch a price list over the network then, unless told not to.
    Prices are read from the list it bundles."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def chat_model(name: str, **settings: Any) -> BaseChatModel:
    """``ChatLiteLLM`` for a LiteLLM name such as ``"anthropic/claude-sonnet-4-5"``.

    Args:
        name: provider and model, as LiteLLM names them.
        settings: as ``ChatLiteLLM`` takes them.

    Raises:
        InvalidGraph: a setting is not one of ``ChatLiteLLM``'s, or has a value it does not take.
    """
    stay_offline()
    from langchain_litellm import ChatLiteLLM

    known = (
        set(ChatLiteLLM.model_fields) | {f.alias for f in ChatLiteLLM.model_fields.values() if f.alias} | {"base_url"}
    )
    unknown = sorted(set(settings) - known)
    if unknown:
        raise _invalid("is not a setting of ChatLiteLLM", unknown[0], settings[unknown[0]], name)
    try:
        return ChatLiteLLM(model=name, **settings)
    except ValueError as error:
        raise _invalid(f"is not accepted by ChatLiteLLM ({error})", "settings", settings, name) from error


def _invalid(problem: str, field: str, value: object, name: str) -> InvalidGraph:
    remedy = "See ChatLiteLLM's own fields"
    return InvalidGraph(problem, field=field, value=value, place=f"model {name!r}", remedy=remedy)
