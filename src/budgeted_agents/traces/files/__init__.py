"""Trace files as importers see them: found, unpacked, bounded."""

from budgeted_agents.traces.files.paths import find_files
from budgeted_agents.traces.files.source import FileSource

__all__ = ["FileSource", "find_files"]
