"""Records of calls: written here (``records``), or by others (``formats``) and audited (``audit``).

Names are loaded when they are first used: an audit's processes need none of them, nor the ledgers they bring in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budgeted_agents.traces.records.event import BudgetEvent
    from budgeted_agents.traces.records.record import CallRecord
    from budgeted_agents.traces.records.recorder import Recorded, Recorder, ToppedUp

__all__ = ["BudgetEvent", "CallRecord", "Recorded", "Recorder", "ToppedUp"]

_HOMES = {
    "BudgetEvent": "budgeted_agents.traces.records.event",
    "CallRecord": "budgeted_agents.traces.records.record",
    "Recorded": "budgeted_agents.traces.records.recorder",
    "Recorder": "budgeted_agents.traces.records.recorder",
    "ToppedUp": "budgeted_agents.traces.records.recorder",
}
"""Where each name lives."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
