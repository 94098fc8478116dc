"""What other policies would have done to recorded calls."""

from budgeted_agents.simulation.report import PolicyWhatIf, SessionWhatIf, WhatIfReport
from budgeted_agents.simulation.what_if import what_if

__all__ = ["PolicyWhatIf", "SessionWhatIf", "WhatIfReport", "what_if"]
