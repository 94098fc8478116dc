"""What the tests of ``BudgetMiddleware`` share: an agent that would go on forever, and what is asserted of its end."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from budgeted_agents import Budget, BudgetMiddleware
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.langgraph.support import openai_model, serving, thread

ASK = {"messages": [HumanMessage("Go on.")]}
LANDED = "Here is what I have."


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} means {word}."


def looks_up_forever(request: Request) -> Reply:
    """Calls a tool for as long as it has one."""
    if not request.tools:
        return Reply(LANDED)
    return Reply("Let me see.", [ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}")])


def endless_agent(
    provider: LocalProvider, budget: Budget, *, middleware: Sequence[Any] = (), **settings: Any
) -> tuple[Any, BudgetMiddleware]:
    """An agent that never stops by itself, and what keeps it."""
    own = {name: settings.pop(name) for name in OWN if name in settings}
    guard = BudgetMiddleware(budget=budget, **own)
    model = openai_model(provider, max_tokens=40)
    return create_agent(model, [look_up], middleware=[*middleware, guard], **settings), guard


OWN = ("models", "ledger", "finalizer", "listeners", "attribution", "prices")


def assert_within(report: SpendReport, provider: LocalProvider, cap: Decimal | None = None) -> None:
    """The bill is the ledger's to the nano-dollar, nothing is left held, and neither is above the cap."""
    assert report.cost_nanos == provider.bill_nanos
    assert report.in_flight == 0
    assert all(balance.held == 0 for balance in report.balances)
    assert cap is None or provider.bill_usd <= cap


def assert_complete(messages: Sequence[BaseMessage]) -> None:
    """Every tool call has its result."""
    asked = [call["id"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]
    assert sorted(map(str, asked)) == sorted(m.tool_call_id for m in messages if isinstance(m, ToolMessage))


__all__ = [
    "ASK",
    "LANDED",
    "assert_complete",
    "assert_within",
    "endless_agent",
    "look_up",
    "looks_up_forever",
    "openai_model",
    "serving",
    "thread",
]
