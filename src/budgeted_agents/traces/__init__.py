"""Records of calls, and where they are written."""

from budgeted_agents.traces.event import BudgetEvent
from budgeted_agents.traces.record import CallRecord
from budgeted_agents.traces.recorder import Recorded, Recorder, ToppedUp

__all__ = ["BudgetEvent", "CallRecord", "Recorded", "Recorder", "ToppedUp"]
