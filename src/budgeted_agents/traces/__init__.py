"""Records of calls."""

from budgeted_agents.traces.record import CallRecord

__all__ = ["CallRecord"]
