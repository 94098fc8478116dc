"""What the tests of attaching to an existing application share: a provider that counts as estimates do, the packages'
own chat models on its wire, and the assertion that each call was seen exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from budgeted_agents import CostCallback
from budgeted_agents.estimate import count_text
from budgeted_agents.meter import BudgetEvent
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider, fixed

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

KEY = SecretStr("sk-local")


def serving(reply: Any = None, **settings: Any) -> LocalProvider:
    """A provider that counts tokens exactly as estimates do."""
    reply = fixed("A short answer.", output_tokens=50) if reply is None else reply
    return LocalProvider(reply, count_tokens=count_text, **settings)


def openai(provider: LocalProvider, model: str = "gpt-4o", **settings: Any) -> ChatOpenAI:
    settings = {"max_tokens": 100, "max_retries": 0, "stream_usage": True, **settings}
    return ChatOpenAI(model=model, base_url=provider.base_url, api_key=KEY, **settings)


def anthropic(provider: LocalProvider, **settings: Any) -> ChatAnthropic:
    settings = {"max_tokens": 100, "max_retries": 0, **settings}
    return ChatAnthropic(model_name="claude-haiku-4-5", base_url=provider.url, api_key=KEY, **settings)


def gemini(provider: LocalProvider, **settings: Any) -> ChatGoogleGenerativeAI:
    settings = {"max_output_tokens": 100, "max_retries": 0, **settings}
    return ChatGoogleGenerativeAI(model="gemini-3.5-flash-lite", base_url=provider.url, api_key=KEY, **settings)


def embeddings_of(provider: LocalProvider) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider.base_url,
        api_key=KEY,
        check_embedding_ctx_length=False,  # otherwise it loads a vocabulary from the network
    )


PACKAGES = pytest.mark.parametrize("make", [openai, anthropic, gemini], ids=["openai", "anthropic", "gemini"])
"""Each provider's own package, on its own wire format."""


def litellm(provider: LocalProvider, **settings: Any) -> BaseChatModel:
    from budgeted_agents.integrations.litellm import chat_model

    settings = {"max_tokens": 100, **settings}
    return chat_model("openai/gpt-4o", api_base=provider.base_url, api_key="sk-local", **settings)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[BudgetEvent] = []

    def __call__(self, event: BudgetEvent) -> None:
        self.events.append(event)

    def of(self, kind: str) -> list[BudgetEvent]:
        return [event for event in self.events if event.kind == kind]


def assert_seen_once(report: SpendReport, provider: LocalProvider, calls: int) -> None:
    """So many calls reached the provider, each is in the report once, and the bill is the ledger's to the nano."""
    assert len(provider.requests) == calls
    assert len([call for call in report.model_calls if call.outcome == "settled"]) == calls
    assert report.cost_nanos == provider.bill_nanos
    assert_balanced(report, provider.bill_nanos)


def assert_balanced(report: SpendReport, nanos: int) -> None:
    """Nothing is left held, and every account in dollars has been charged exactly this."""
    assert report.in_flight == 0
    for balance in report.balances:
        assert balance.held == 0
        if balance.account.unit == "usd":
            assert balance.spent == nanos


def spend_of(callback: CostCallback, provider: LocalProvider, calls: int) -> SpendReport:
    """The callback's report, once it is known to have seen each call exactly once."""
    report = callback.spend
    assert_seen_once(report, provider, calls)
    return report
