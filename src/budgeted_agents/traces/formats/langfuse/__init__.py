"""Langfuse: traces as its pages and API give them, exports of observations, and its exports to blob storage."""

from budgeted_agents.traces.formats.langfuse.format import FORMAT

__all__ = ["FORMAT"]
