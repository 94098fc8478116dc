"""Trace files of one record a line, bad ones among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from budgeted_agents.traces.files import FileSource


def write_lines(path: Path, *records: Any) -> FileSource:
    """A file of JSON lines; what is bytes already is written as it is."""
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return FileSource(path)
