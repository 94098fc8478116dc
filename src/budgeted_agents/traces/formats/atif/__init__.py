"""ATIF, the Agent Trajectory Interchange Format (Harbor, Terminal-Bench, and converters from many agents), and the
``result.json`` that Harbor writes for each trial."""

from budgeted_agents.traces.formats.atif.format import FORMAT

__all__ = ["FORMAT"]
