"""Real traces, which are no part of the repository: tests that read them say nothing where there are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_FOLDER = Path(os.environ.get("BUDGETED_AGENTS_TRACES") or Path(__file__).parents[4] / "shared" / "traces")
_COUNT = ".independent_count.json"


def samples(folder: str = "*") -> list[Path]:
    """The real traces of one folder, or of all."""
    files = sorted(_FOLDER.glob(f"{folder}/*.*"))
    return [file for file in files if not file.name.endswith(_COUNT) and file.parent.name != "prices"]


def independent_count(sample: Path) -> dict[str, Any] | None:
    """The tokens that another tool has counted in it, if one has."""
    file = sample.with_name(sample.stem + _COUNT)
    return json.loads(file.read_text())["token_usage"] if file.exists() else None
