"""Pure decisions: from a call, budgets and balances to what may be done about it."""

from budgeted_agents.governor.call import Candidate, ModelCall, Quote
from budgeted_agents.governor.holds import governing, matching, model_holds, tool_holds
from budgeted_agents.governor.ladder import Pressure, candidates, context_limit, least_output, pressure
from budgeted_agents.governor.topping_up import budget_to_top_up, top_up_lines

__all__ = [
    "Candidate",
    "ModelCall",
    "Pressure",
    "Quote",
    "budget_to_top_up",
    "candidates",
    "context_limit",
    "governing",
    "least_output",
    "matching",
    "model_holds",
    "pressure",
    "tool_holds",
    "top_up_lines",
]
