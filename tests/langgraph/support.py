"""What the tests of governed graphs share: a provider that counts tokens as we do, models on its wire, and the one
assertion they all make: the provider's bill is the ledger's, to the nano-dollar, and within the cap."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import httpx
from langchain_core.messages import AIMessage, BaseMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from budgeted_agents.estimate import count_text
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall, fill
from budgeted_agents.testing.replies import ReplyPolicy

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

CAP = Decimal("1.00")
LONG_PROMPT = "hello " * 7_990
"""About 8,000 tokens: $0.02 of gpt-4o's input."""


class State(TypedDict):
    messages: Annotated[list[Any], operator.add]
    visits: int


def serving(reply: ReplyPolicy | Sequence[Reply] | None = None, **settings: Any) -> LocalProvider:
    """A provider that counts tokens exactly as estimates do, so that bills and ledgers can be compared to the nano."""
    return LocalProvider(fill(16_000) if reply is None else reply, count_tokens=count_text, **settings)


def openai_model(provider: LocalProvider, model: str = "gpt-4o", **settings: Any) -> ChatOpenAI:
    """A model that keeps no connection open: an event loop that ends would leave it to the garbage collector."""
    client = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0), verify=False)
    options: dict[str, Any] = {"base_url": provider.base_url, "http_async_client": client, **settings}
    return ChatOpenAI(model=model, api_key=SecretStr("sk-local"), **options)


def thread(name: str = "t1", **metadata: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": name}, "metadata": metadata, "recursion_limit": 200}


def slim(answer: BaseMessage) -> AIMessage:
    """An answer without its bulk, so that states stay small; its usage stays."""
    assert isinstance(answer, AIMessage)
    return AIMessage(answer.text[:8], usage_metadata=answer.usage_metadata)


def assert_exact(report: SpendReport, provider: LocalProvider, cap: Decimal = CAP) -> None:
    """The bill is the ledger's, nothing is left held, and neither is above the cap."""
    assert report.cost_nanos == provider.bill_nanos
    assert report.presumed_usd == 0
    assert report.in_flight == 0
    assert provider.bill_usd <= cap
    for balance in report.balances:
        assert balance.held == 0
        if balance.account.unit == "usd":
            assert balance.spent == provider.bill_nanos


def assert_all_kept(messages: Sequence[Any], provider: LocalProvider) -> None:
    """Every answer that was paid for is in the final state."""
    paid = sorted(record.usage.output_tokens for record in provider.requests if record.usd)
    kept = sorted(m.usage_metadata["output_tokens"] for m in messages if isinstance(m, AIMessage) and m.usage_metadata)
    assert kept == paid


def calls_tool(request: Request, name: str, **arguments: Any) -> Reply:
    """A reply that calls one tool, with an id that no other request uses."""
    return Reply(tool_calls=[ToolCall(name, arguments, id=f"call_{request.number}")])
