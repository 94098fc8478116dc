"""``BudgetedGraph`` under a budget that no test suite ever reaches: every result must stay what it is without one."""

from __future__ import annotations

from typing import Any

from langgraph.typing import ContextT, InputT, OutputT, StateT

from budgeted_agents.budget import Budget
from budgeted_agents.errors import UnknownPrice
from budgeted_agents.integrations.langgraph.graph import BudgetedGraph as _BudgetedGraph
from budgeted_agents.prices import Price, PriceBook


class AnyModel(PriceBook):
    """A price for every model, also for the fakes that test suites use."""

    def price(self, model: str, provider: str | None = None, region: str | None = None) -> Price:
        try:
            return super().price(model, provider, region)
        except UnknownPrice:
            return super().price("gpt-4o")


BUDGET = Budget(
    usd="1000000",
    tokens=10**12,
    model_calls=10**9,
    tool_calls=10**9,
    loops=10**6,
    depth=100,
    context_tokens=10**9,
    requests_per_minute=10**9,
)


def _book() -> AnyModel:
    book, default = AnyModel(), PriceBook.default()
    book.__dict__.update(default.__dict__)
    return book


class NeverReached(_BudgetedGraph[StateT, ContextT, InputT, OutputT]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, budget=BUDGET, prices=_book(), **kwargs)
