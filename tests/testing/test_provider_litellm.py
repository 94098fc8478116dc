"""The local provider seen by LiteLLM through LangChain. Importing litellm takes seconds: only here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall

# litellm itself warns on import and on use
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

REPLY = Reply("Look here.", [ToolCall("search", {"query": "x"})], input_tokens=8_000, output_tokens=16_000)
SEARCH = {"name": "search", "description": "Searches.", "parameters": {"type": "object", "properties": {}}}


def chat_model(provider: LocalProvider, model: str) -> Any:
    from langchain_litellm import ChatLiteLLM

    api_base = provider.url if model.startswith("anthropic/") else provider.base_url
    return ChatLiteLLM(model=model, api_base=api_base, api_key="sk-local", max_retries=0)


@pytest.mark.parametrize(
    ("model", "usd"), [("openai/gpt-4o", Decimal("0.18")), ("anthropic/claude-sonnet-4-5", Decimal("0.264"))]
)
@pytest.mark.parametrize("stream", [False, True])
def test_litellm_reads_what_the_provider_bills(model: str, usd: Decimal, stream: bool) -> None:
    with LocalProvider([REPLY]) as provider:
        bound = chat_model(provider, model).bind(max_tokens=16_000).bind_tools([SEARCH])
        if stream:
            first, *others = bound.stream("Hello", stream_options={"include_usage": True})
            message = first.__add__(others) if others else first
        else:
            message = bound.invoke("Hello")
        assert provider.bill_usd == usd
    assert message.text == "Look here."
    assert [call["args"] for call in message.tool_calls] == [{"query": "x"}]
    assert message.usage_metadata["input_tokens"] == 8_000
    assert message.usage_metadata["output_tokens"] == 16_000


def test_an_error_of_the_provider_is_litellms_error() -> None:
    import litellm

    def slow_down(request: Request) -> Reply:
        return Reply("slow down", status=429, headers={"retry-after-ms": "1"})

    with LocalProvider(slow_down) as provider:
        with pytest.raises(litellm.RateLimitError):  # type: ignore[attr-defined]
            chat_model(provider, "openai/gpt-4o").invoke("Hello")
        assert provider.bill_nanos == 0
