"""Pure decisions: from a call, budgets and balances to what may be done about it."""

from budgeted_agents.governor.call import Candidate, ModelCall, Quote
from budgeted_agents.governor.holds import governing, matching, model_holds, tool_holds
from budgeted_agents.governor.ladder import Pressure, candidates, context_limit, least_output, pressure

__all__ = [
    "Candidate",
    "ModelCall",
    "Pressure",
    "Quote",
    "candidates",
    "context_limit",
    "governing",
    "least_output",
    "matching",
    "model_holds",
    "pressure",
    "tool_holds",
]
