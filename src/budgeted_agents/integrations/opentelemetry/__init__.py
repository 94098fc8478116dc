"""Spans and metrics through the user's own OpenTelemetry set-up."""

from budgeted_agents.integrations.opentelemetry.recorder import OpenTelemetryRecorder

__all__ = ["OpenTelemetryRecorder"]
