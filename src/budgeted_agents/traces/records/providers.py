"""Providers by the names that OpenTelemetry's GenAI conventions give them (``gen_ai.provider.name``)."""

from __future__ import annotations

_NAMES = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "bedrock_mantle": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "text-completion-openai": "openai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}


def provider_name(provider: str) -> str:
    """The conventions' name for a provider in LiteLLM's list; its own name where they have none."""
    return "gcp.vertex_ai" if provider.startswith("vertex_ai") else _NAMES.get(provider, provider)
