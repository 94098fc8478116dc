"""Turning off the retries that provider SDKs make by themselves, on a copy of a chat model.

The OpenAI and Anthropic clients retry twice by default, LiteLLM hands its own default to them. Each such attempt may be
billed and none is visible, so attempts are made by us instead: each one reserved.
"""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel

_CLIENT_PATHS = {"root_client": "client", "root_async_client": "async_client"}
"""langchain-openai: the SDK client, and the field that holds its ``chat.completions``."""

_LITELLM = "langchain_litellm"

_SDK_RETRIES = 2
"""What LiteLLM has an SDK's client do unless it is told otherwise."""

_CACHED_CLIENTS = ("_client", "_async_client")
"""langchain-anthropic: clients made on first use from the model's own fields."""


def without_client_retries(model: BaseChatModel) -> None:
    """Rebuild the clients a copied model holds so that they do not retry. Changes the model given: hand in a copy."""
    for name in _CACHED_CLIENTS:
        model.__dict__.pop(name, None)
    for root, client in _CLIENT_PATHS.items():
        sdk = getattr(model, root, None)
        if sdk is not None and hasattr(sdk, "with_options"):
            quiet = sdk.with_options(max_retries=0)
            _set(model, root, quiet)
            _set(model, client, quiet.chat.completions)
    if is_litellms(model):
        # ChatLiteLLM's own max_retries is for LangChain; the one below it reaches the provider's SDK.
        pass_on(model, max_retries=0)
        _set(model, "max_retries", 1)


def client_retries(model: BaseChatModel) -> int | None:
    """How often the SDK client below a model retries by itself; None where the model's own setting decides that."""
    if is_litellms(model):
        given: dict[str, Any] = getattr(model, "model_kwargs", None) or {}
        return None if "max_retries" in model.model_fields_set else given.get("max_retries", _SDK_RETRIES)
    if getattr(model, "max_retries", None) is not None:
        return None
    clients = [client for root in _CLIENT_PATHS if (client := getattr(model, root, None)) is not None]
    return max((client.max_retries for client in clients if hasattr(client, "max_retries")), default=None)


def is_litellms(model: BaseChatModel) -> bool:
    """Whether a model is called through LiteLLM, to which its class passes on whatever it has no field for."""
    return "model_kwargs" in type(model).model_fields and type(model).__module__.startswith(_LITELLM)


def pass_on(model: BaseChatModel, **arguments: Any) -> None:
    """Have a copied model give LiteLLM these arguments at every call."""
    given: dict[str, Any] = getattr(model, "model_kwargs", None) or {}
    _set(model, "model_kwargs", {**given, **arguments})


def _set(model: BaseChatModel, name: str, value: object) -> None:
    """Set a field without running validators: they would build the clients anew."""
    model.__dict__[name] = value
