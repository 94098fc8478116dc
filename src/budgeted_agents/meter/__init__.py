"""Conducting one call, from admission to settlement."""

from budgeted_agents.meter.events import BudgetEvent, Listener
from budgeted_agents.meter.meter import Admission, Meter, ToolAdmission
from budgeted_agents.meter.outcomes import BillingTable
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.steps import Steps, adrive, drive

__all__ = [
    "Admission",
    "BillingTable",
    "BudgetEvent",
    "Listener",
    "Meter",
    "Run",
    "Steps",
    "ToolAdmission",
    "adrive",
    "drive",
]
