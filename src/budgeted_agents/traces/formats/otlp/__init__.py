"""OpenTelemetry's spans in files, whatever convention their attributes follow."""

from budgeted_agents.traces.formats.otlp.format import FORMAT

__all__ = ["FORMAT"]
