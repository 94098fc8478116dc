"""Files that tell again what others of the same input tell: Harbor turns its agents' own logs into trajectories, and
keeps the logs below the same folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.atif.format import FORMAT
from budgeted_agents.traces.formats.atif.trials import AGENT, TRAJECTORY, told_beside
from budgeted_agents.traces.formats.registry import Formats

COPY = "tells of the same calls as the trajectory of its agent, which is read; it is not"


def copies(paths: Sequence[Path], formats: Formats) -> dict[Path, str]:
    """The files that are copies, with their formats.

    Args:
        paths: all files of an input. A file without its trajectory among them is no copy.
        formats: what they may be in.
    """
    beside = (path for path in paths if path.name == TRAJECTORY and path.parent.name == AGENT)
    told = {path.parent for path in beside if told_beside(path.parent.parent)[1]}
    if not told:
        return {}
    logs = (path for path in paths if not told.isdisjoint(path.parents))
    return {path: name for path in logs if (name := _format_of(path, formats)) not in ("", FORMAT.name)}


def _format_of(path: Path, formats: Formats) -> str:
    """The name of a file's format; empty if it has none, or if it cannot be told."""
    try:
        found = formats.of(FileSource(path))
    except Exception:  # noqa: BLE001 -- whoever reads it says what is wrong
        return ""
    return "" if found is None else found.name
