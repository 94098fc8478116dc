"""Records of calls: written here (``records``), or by others (``formats``) and audited (``audit``)."""

from budgeted_agents.traces.records.event import BudgetEvent
from budgeted_agents.traces.records.record import CallRecord
from budgeted_agents.traces.records.recorder import Recorded, Recorder, ToppedUp

__all__ = ["BudgetEvent", "CallRecord", "Recorded", "Recorder", "ToppedUp"]
