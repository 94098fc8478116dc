"""Conducting one call, from admission to settlement."""

from budgeted_agents.meter.admission import Admission, admit
from budgeted_agents.meter.booking import presume_overdue
from budgeted_agents.meter.events import Listener
from budgeted_agents.meter.hosts import Host
from budgeted_agents.meter.meter import Meter, new_id
from budgeted_agents.meter.opening import open_meter
from budgeted_agents.meter.outcomes import BillingTable
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.settlement import cancel, fail, keep_alive, refuse_useless, settle
from budgeted_agents.meter.steps import Either, Pause, Steps, adrive, drive, until_pause
from budgeted_agents.meter.tools import ToolAdmission, admit_tool, cancel_tool, settle_tool
from budgeted_agents.traces import BudgetEvent

__all__ = [
    "Admission",
    "BillingTable",
    "BudgetEvent",
    "Either",
    "Host",
    "Listener",
    "Meter",
    "Pause",
    "Run",
    "Steps",
    "ToolAdmission",
    "admit",
    "admit_tool",
    "adrive",
    "cancel",
    "cancel_tool",
    "drive",
    "fail",
    "keep_alive",
    "new_id",
    "open_meter",
    "presume_overdue",
    "refuse_useless",
    "settle",
    "settle_tool",
    "until_pause",
]
