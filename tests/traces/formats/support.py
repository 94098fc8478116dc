"""Small trace files, and what importers make of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from budgeted_agents.traces.call import Kind, TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats import Format


@dataclass(frozen=True)
class Imported:
    """What an importer made of a file."""

    calls: Sequence[TracedCall]
    source: FileSource

    def of(self, kind: Kind) -> list[TracedCall]:
        return [call for call in self.calls if call.kind == kind]

    @property
    def models(self) -> list[TracedCall]:
        return self.of("model") + self.of("embedding")

    @property
    def statement(self) -> TracedCall:
        (only,) = self.of("statement")
        return only

    @property
    def recorded(self) -> Decimal:
        return sum((call.recorded_cost or Decimal() for call in self.models), Decimal())

    @property
    def problems(self) -> list[str]:
        return [str(problem) for problem in self.source.problems.kept]


def written(folder: Path, name: str, content: Any) -> FileSource:
    """A file with this content: bytes, or a JSON value (a list as lines where the name ends in ``.jsonl``)."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(line) + "\n" for line in content))
    else:
        path.write_text(json.dumps(content, indent=1))
    return FileSource(path)


def imported(importer: Format, source: FileSource) -> Imported:
    """What an importer makes of a file that it recognizes."""
    assert importer.detect(source), f"{importer.name} does not recognize {source.path}"
    return Imported(list(importer.read(source)), source)
