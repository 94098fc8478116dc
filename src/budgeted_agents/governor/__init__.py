"""Pure decisions: from a call, budgets and balances to what may be done about it."""

from budgeted_agents.governor.call import Candidate, ModelCall, Quote
from budgeted_agents.governor.holds import matching, minute_of, window_of
from budgeted_agents.governor.ladder import (
    CALM,
    Pressure,
    candidates,
    context_limit,
    least_output,
    pressure,
    tightest_on_context,
)
from budgeted_agents.governor.plan import Plan, Plans
from budgeted_agents.governor.quoting import USUAL_LIMIT, output_limit, quoted, usual_answer
from budgeted_agents.governor.topping_up import budget_to_top_up, top_up_lines

__all__ = [
    "CALM",
    "USUAL_LIMIT",
    "Candidate",
    "ModelCall",
    "Plan",
    "Plans",
    "Pressure",
    "Quote",
    "budget_to_top_up",
    "candidates",
    "context_limit",
    "least_output",
    "matching",
    "minute_of",
    "output_limit",
    "pressure",
    "quoted",
    "tightest_on_context",
    "top_up_lines",
    "usual_answer",
    "window_of",
]
