"""What must be known of a chat model before it can be budgeted: its name, its output limit, its hidden retries.

Chat-model classes name these things differently. What is known of their fields and arguments stands in this file; of
their SDKs' clients, in ``clients``. Models that are only seen by a callback, and embeddings, are read where they are
observed (``callbacks.observed``, ``callbacks.embeddings``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel

from budgeted_agents.integrations.langchain.calls.clients import (
    client_retries,
    is_litellms,
    pass_on,
    without_client_retries,
)
from budgeted_agents.prices.price import LEAST_EFFORTS

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
"""Names under which chat-model classes keep their output limit, by how common they are."""

EXTRA_BODY = "extra_body"
"""The field or argument with what OpenAI's client adds to a request as it is sent."""

_LIMIT_KWARG_BY_PROVIDER = {
    "google_genai": "max_output_tokens",
    "google_vertexai": "max_output_tokens",
    "ollama": "num_predict",
}


_OPENAI = frozenset({"openai", "azure"})


def model_name(model: BaseChatModel) -> str:
    """The name the provider knows the model by; the class's name where there is none (fakes)."""
    for field in ("model_name", "model", "model_id", "deployment_name"):
        value = getattr(model, field, None)
        if isinstance(value, str) and value:
            return value.removeprefix("models/")
    return type(model).__name__


def provider_of(model: BaseChatModel) -> str | None:
    """LangChain's word for who serves the model, if its class says so."""
    provider = model._get_ls_params().get("ls_provider")
    return provider if isinstance(provider, str) and provider else None


def is_openais(model: BaseChatModel) -> bool:
    """Whether the model is called as OpenAI's own are."""
    return provider_of(model) in _OPENAI


def price_name(model: BaseChatModel) -> tuple[str, str | None]:
    """Name and provider to look a price up by. LiteLLM's names carry their provider themselves."""
    name = model_name(model)
    return (name, None) if "/" in name else (name, provider_of(model))


def limit_field(model: BaseChatModel) -> str | None:
    """The field that holds the class's output limit; None if it has none, so that it cannot be clamped."""
    return _limit_field(type(model))


@cache
def _limit_field(cls: type[BaseChatModel]) -> str | None:
    return next((name for name in LIMIT_FIELDS if name in cls.model_fields), None)


def asked_limit(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int | None:
    """The output limit the caller asked for, in tokens: by the call's arguments, else by the model's own setting."""
    if (limit := limit_in(_extra_body(model, kwargs))) is not None:
        return limit
    for name in LIMIT_FIELDS:
        if _is_limit(limit := kwargs.get(name)):
            return limit
    field = limit_field(model)
    limit = getattr(model, field, None) if field else None
    return limit if _is_limit(limit) else None


def limit_in(extra_body: Any) -> int | None:
    """The output limit in what is added to a request as it is sent, where it wins over any other."""
    if not extra_body or not isinstance(extra_body, Mapping):
        return None
    return highest_limit(map(extra_body.get, LIMIT_FIELDS))


def highest_limit(values: Iterable[Any]) -> int | None:
    """The highest of those values that are output limits."""
    return max((value for value in values if _is_limit(value)), default=None)


def _extra_body(model: BaseChatModel, kwargs: Mapping[str, Any]) -> Any:
    return kwargs.get(EXTRA_BODY) or _setting(model, EXTRA_BODY)


def _is_limit(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and value > 0


def limit_differs(called: BaseChatModel, asked: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    """Whether the limit the caller asked for has to be said to the model that is called: its own setting is another,
    or the call's argument may have a name that its class passes over."""
    if any(name in kwargs for name in LIMIT_FIELDS):
        return True
    return called is not asked and asked_limit(called, {}) != asked_limit(asked, {})


def with_limit(model: BaseChatModel, kwargs: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The call's arguments with this output limit instead of any other."""
    name = _LIMIT_KWARG_BY_PROVIDER.get(provider_of(model) or "", "max_tokens")
    if "use_responses_api" in type(model).model_fields and is_openais(model):
        name = "max_completion_tokens"  # with the Responses API, the model's own max_tokens would win over max_tokens
    others = _without_limits(kwargs)
    if limit_in(body := _extra_body(model, kwargs)) is not None:
        others[EXTRA_BODY] = _without_limits(body)
    return {**others, name: limit}


def _without_limits(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in LIMIT_FIELDS}


def limited(model: BaseChatModel, kwargs: Mapping[str, Any], limit: int) -> tuple[BaseChatModel, dict[str, Any]]:
    """The model and the call's arguments with this output limit, in which thinking leaves room for the answer: Claude
    refuses a request that could think for all of it. It thinks for half of it then, or not at all."""
    kwargs = with_limit(model, kwargs, limit)
    own = _setting(model, "thinking")
    thinking = own or kwargs.get("thinking") or (_setting(model, "model_kwargs") or {}).get("thinking")
    if not isinstance(thinking, Mapping) or thinking.get("budget_tokens", 0) < limit:
        return model, kwargs
    half = limit // 2
    less = {**thinking, "budget_tokens": half} if half >= _LEAST_THINKING else {"type": "disabled"}
    return (model.model_copy(update={"thinking": less}), kwargs) if own else (model, {**kwargs, "thinking": less})


def takes_effort(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call of the model can be told how much to think. One with tools cannot: with some that a provider runs,
    models must think."""
    known = "reasoning_effort" in type(model).model_fields or is_litellms(model)
    return known and not kwargs.get("tools")


def least_effort(model: BaseChatModel) -> str:
    """The reasoning effort at which the model hardly thinks, by LangChain's profile of it; empty if it names none."""
    levels = (model.profile or {}).get("reasoning_effort_levels") or ()
    return next((level for level in levels if level in LEAST_EFFORTS), "")


def with_effort(model: BaseChatModel, kwargs: Mapping[str, Any], effort: str) -> dict[str, Any]:
    """The call's arguments with this reasoning effort instead of any other."""
    reasoning = kwargs.get("reasoning") or _setting(model, "reasoning")
    if isinstance(reasoning, Mapping):  # the Responses API's own way, which would win
        return {**kwargs, "reasoning": {**reasoning, "effort": effort}}
    return {**kwargs, "reasoning_effort": effort}


_LEAST_THINKING = 1_024
"""The shortest thinking that Claude can be asked for, in tokens."""


def _setting(model: BaseChatModel, field: str) -> Any:
    """A field's value, None if the class has no such field; a pydantic model takes long to say that it lacks one."""
    return model.__dict__.get(field)


def answers(model: BaseChatModel, kwargs: Mapping[str, Any]) -> int:
    """How many answers the call asks for at once (OpenAI's ``n``); each may be as long as the output limit."""
    number = kwargs.get("n") or _setting(model, "n")
    return number if isinstance(number, int) and number > 1 else 1


def service_tier(model: BaseChatModel, kwargs: Mapping[str, Any]) -> str | None:
    """The service tier the call asks for (``flex``, ``priority``, Claude's ``fast``), if any."""
    tier = kwargs.get("service_tier") or _setting(model, "service_tier")
    if tier is None and "fast" in (kwargs.get("speed"), (_setting(model, "model_kwargs") or {}).get("speed")):
        return "fast"
    return tier if isinstance(tier, str) else None


def region(model: BaseChatModel) -> str | None:
    """The region the model asks to be served in, where that may cost more: Claude's geography, OpenAI's data
    residency, Vertex AI's location."""
    for asked in (_setting(model, "inference_geo"), _setting(model, "location")):
        if isinstance(asked, str) and asked:
            return asked
    host = urlsplit(str(_setting(model, "openai_api_base") or "")).hostname or ""
    return host.partition(".")[0] if host.endswith(_RESIDENCY) else None


_RESIDENCY = ".api.openai.com"
"""Hosts of OpenAI's data residency are a region before this: ``eu.api.openai.com``."""


_COUNT_ATTEMPTS = frozenset({"google_genai", "google_vertexai"})
"""Whose ``max_retries`` counts the first attempt as well: 1 is none."""


def retries_of(model: BaseChatModel) -> int:
    """How often a failed request would be sent again: as the model says or, where it says nothing, its client."""
    retries = client_retries(model)
    if retries is None:
        retries = getattr(model, "max_retries", None)
    if not isinstance(retries, int):
        return 0
    return max(retries - (provider_of(model) in _COUNT_ATTEMPTS), 0)


def as_called(model: BaseChatModel, *, instead: bool = False) -> BaseChatModel:
    """A copy of the model as it is called under a budget: its own retries off, since hidden attempts are hidden spend,
    and usage reported at the end of its streams, unless the caller has decided about that.

    One that is called ``instead`` of another is given what it was set for: LiteLLM drops what it does not take.
    """
    fields, changes = type(model).model_fields, dict[str, Any]()
    if "max_retries" in fields:
        changes["max_retries"] = 0
    if "stream_usage" in fields and getattr(model, "stream_usage", None) is None:
        changes["stream_usage"] = True
    if not changes:
        return model
    copy = model.model_copy(update=changes)
    if "max_retries" in changes:
        without_client_retries(copy)
    if instead and is_litellms(copy):
        pass_on(copy, drop_params=True)
    return copy
