"""Finding the row of a model: names come with and without their provider, from many frameworks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PROVIDERS: Mapping[str, str] = {
    "amazon-bedrock": "bedrock",
    "aws.bedrock": "bedrock",
    "aws_bedrock": "bedrock",
    "amazon_bedrock": "bedrock",
    "anthropic_bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "az.ai.inference": "azure_ai",
    "az.ai.openai": "azure",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure_ai",
    "azure_openai": "azure",
    "azure-openai": "azure",
    "fireworks": "fireworks_ai",
    "gcp.gemini": "gemini",
    "gcp.gen_ai": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "google": "gemini",
    "google_genai": "gemini",
    "google-genai": "gemini",
    "google.vertex": "vertex_ai",
    "google_vertexai": "vertex_ai",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshot",
    "together": "together_ai",
    "togetherai": "together_ai",
    "x_ai": "xai",
}
"""Names other frameworks and OpenTelemetry give to LiteLLM's providers."""

_ENDPOINT = re.compile(r"\.(chat|completion|embedding|generative-ai|messages|responses)$")
"""What the Vercel AI SDK puts behind a provider's name."""

_SAME_SELLER: Mapping[str, str] = {"azure_ai": "azure"}
"""A provider whose rows lack models that it sells at the price of another's rows."""

_LOCAL = frozenset({"ollama", "ollama_chat"})
"""Providers that run models on the user's own machine. The list knows some of their models, all at no price."""

_FINE_TUNED = re.compile(r"(^|/)(ft:[^:/]+):[^/]*$")
"""OpenAI's names for fine-tuned models: the model they were made of, then whose they are, a name and an id."""

_ARN = re.compile(r"^(?:bedrock/)?arn:[^/]*:bedrock:[^/]*/")
"""How Amazon's long names begin; what follows is a model's name or, for a profile of the user's own, an id."""

_LONG_CONTEXT = re.compile(r"\[1m\]$", re.IGNORECASE)
_ROUTES = frozenset({"converse", "converse_like", "invoke", "chat", "responses", "models"})
"""Segments that name an API or a collection and not a model."""

_COMPLETES_TEXT = "text-completion-"
"""What LiteLLM puts before a provider's name where a model completes text and does not chat."""

Rows = Mapping[str, Mapping[str, Any]]


def litellms_word(provider: str) -> str:
    """LiteLLM's word for a provider, whoever's word it is."""
    word = _ENDPOINT.sub("", provider.lower())
    return _PROVIDERS.get(word, word)


def find_row(model: str, provider: str | None, rows: Rows) -> str | None:
    """The name of the row that prices a model, or None.

    A name with its provider wins over the bare one, and a bare row serves only the provider it belongs to, so that
    ``azure/gpt-4o`` is never priced as OpenAI's, nor a reseller's model as the original.
    """
    name = _ARN.sub("bedrock/", _FINE_TUNED.sub(r"\1\2", _LONG_CONTEXT.sub("", model)))
    if provider:
        provider = litellms_word(provider)
        full = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
        if full in rows:
            return full
    if name in rows and _serves(rows[name], provider, rows):
        return name
    found = next((bare for bare, owner in _shortened(name, provider) if _owned(bare, owner, rows)), None)
    also = _SAME_SELLER.get(provider or "")
    return find_row(model, also, rows) if found is None and also else found


def is_local(model: str, provider: str | None) -> bool:
    """Whether a model runs on the user's own machine, so that nobody bills it, whether or not a list knows it."""
    return litellms_word(provider or model.partition("/")[0]) in _LOCAL and bool(provider or "/" in model)


def _shortened(name: str, provider: str | None) -> Iterator[tuple[str, str | None]]:
    """The name with leading segments taken off, each with the provider that the full name speaks of."""
    segments = name.split("/")
    owner = litellms_word(segments[0]) if len(segments) > 1 else provider
    if owner in _ROUTES:
        owner = provider
    for start in range(1, len(segments)):
        bare = "/".join(segments[start:])
        yield f"{owner}/{bare}", owner
        yield bare, owner
        if segments[start] not in _ROUTES and segments[start] != owner:
            return


def _owned(name: str, owner: str | None, rows: Rows) -> bool:
    return name in rows and (not owner or _belongs(rows[name], owner))


def _serves(row: Mapping[str, Any], provider: str | None, rows: Rows) -> bool:
    """Whether a bare row may price a call to a provider; a provider no list has heard of is no reason to refuse."""
    return not provider or _belongs(row, provider) or not any(_is_by(other, provider) for other in rows.values())


def _belongs(row: Mapping[str, Any], provider: str) -> bool:
    """Whether the row is the provider's, or nobody's in particular."""
    return not row.get("litellm_provider") or _is_by(row, provider)


def _is_by(row: Mapping[str, Any], provider: str) -> bool:
    owner = str(row.get("litellm_provider", ""))
    return owner.startswith(provider) or owner.removeprefix(_COMPLETES_TEXT).startswith(provider)
