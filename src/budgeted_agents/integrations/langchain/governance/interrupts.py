"""A refusal as LangGraph understands it, and how to tell it from other interrupts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langgraph.errors import GraphInterrupt

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.configs import namespace
from budgeted_agents.integrations.langchain.governance.governance import Governance


class RaisedAnew(BudgetExceeded):
    """A refusal as an exception that a framework understands. Checkpoints and other processes, which have no use for
    that, keep it as what it is."""

    def __init__(self, refusal: BudgetExceeded, message: str = "") -> None:
        super().__init__(message or refusal.message, **refusal.particulars)

    def __reduce__(self) -> tuple[Any, ...]:
        return BudgetExceeded(self.message, **self.particulars).__reduce__()


class BudgetInterrupt(RaisedAnew, GraphInterrupt):
    """A refusal that LangGraph neither retries, nor hands to error handlers, nor lets cancel siblings.

    It is an interrupt without a question: by itself it ends a run with its partial state, resumable at the refused
    node, also in graphs that know nothing of budgets.
    """

    def __init__(self, refusal: BudgetExceeded) -> None:
        super().__init__(refusal)
        self.args = ((),)  # LangGraph reads the interrupts from here; there is none to answer

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"BudgetInterrupt({self.message!r})"


def on_exhausted(governance: Governance, refusal: BudgetExceeded) -> str:
    """What the budget that refused says: land, suspend or raise. A budget that is not known here is one of a graph
    inside, which has landed if it was to land: what comes out of it suspends or is raised."""
    known = {budget.name: budget.on_exhausted for budget in governance.meter.policy.budgets}
    return known.get(refusal.budget, "suspend" if isinstance(refusal, GraphInterrupt) else "raise")


REFUSED: Final = (GraphInterrupt, BudgetExceeded, ExceptionGroup)
"""What a refusal comes out of an application's code as; ``refusal_behind`` tells whether it is one."""


def refusal_behind(governance: Governance, metadata: Mapping[str, Any], error: Exception) -> BudgetExceeded | None:
    """The refusal an interrupt stands for; None if it is a question to a person or a breakpoint.

    LangGraph merges interrupts of parallel tasks into a plain one, so the place of the refusal is what counts. A group
    of tasks (``asyncio.TaskGroup``) raises a group of errors, which is a refusal if there is nothing else in it.
    """
    if isinstance(error, BudgetExceeded):
        return error
    if isinstance(error, ExceptionGroup):
        _, others = error.split(BudgetExceeded)
        return None if others else _first(error)
    if error.args and error.args[0]:
        return None
    own = namespace(metadata)
    refused = [refusal for where, refusal in governance.refusals if where.startswith(own)]
    return refused[-1] if refused else None


def _first(group: ExceptionGroup[Any]) -> Any:
    """The first error in a group, however deep it stands."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
