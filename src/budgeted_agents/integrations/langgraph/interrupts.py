"""A refusal as LangGraph understands it."""

from __future__ import annotations

from langgraph.errors import GraphInterrupt

from budgeted_agents.errors import BudgetExceeded


class BudgetInterrupt(BudgetExceeded, GraphInterrupt):
    """A refusal that LangGraph neither retries, nor hands to error handlers, nor lets cancel siblings.

    It is an interrupt without a question: by itself it ends a run with its partial state, resumable at the refused
    node, also in graphs that know nothing of budgets.
    """

    def __init__(self, refusal: BudgetExceeded) -> None:
        super().__init__(
            refusal.message,
            budget=refusal.budget,
            account=refusal.account,
            unit=refusal.unit,
            needed=refusal.needed,
            available=refusal.available,
            limit=refusal.limit,
        )
        self.args = ((),)  # LangGraph reads the interrupts from here; there is none to answer

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[BudgetExceeded], tuple[str]]:
        return BudgetExceeded, (self.message,)  # what a checkpoint or another process needs of it
