"""Calls of trace files, one file after the other, each call once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.files import FileSource, find_files
from budgeted_agents.traces.formats import ENTRY_POINTS, Format
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source


@dataclass(slots=True)
class Reading:
    """One file, while it is read and after.

    Attributes:
        path: as the user named it.
        problems: what had to be passed over.
        format: what it is read as; empty if it is of no known format, or cannot be read.
        calls: how many it has given, without those that were known already.
    """

    path: str
    problems: Problems
    format: str = ""
    calls: int = 0


class Reader:
    """Reads trace files.

    Args:
        paths: files, folders and patterns.
        format: what to read them as; detected for each file if not given.

    Attributes:
        readings: the files, as they are read.
    """

    def __init__(self, paths: Iterable[str | Path], format: str | None = None) -> None:
        self._paths = paths
        self._formats = _formats(format)
        self._is_forced = format is not None
        self._seen: set[str] = set()
        self.readings: list[Reading] = []

    def calls(self) -> Iterator[TracedCall]:
        """Every call of every file, once. A file that cannot be read costs itself.

        Raises:
            InvalidTrace: there is nothing at a path.
        """
        for path in find_files(self._paths):
            source = FileSource(path)
            reading = Reading(source.path, source.problems)
            self.readings.append(reading)
            try:
                yield from self._calls_of(source, reading)
            except InvalidTrace as error:
                source.problems.warn(error.problem)

    def _calls_of(self, source: Source, reading: Reading) -> Iterator[TracedCall]:
        format = next((f for f in self._formats if self._is_forced or f.detect(source)), None)
        if format is None:
            source.problems.warn("is of no known format; --format says which")
            return
        for call in format.read(source):
            if call.id not in self._seen:
                self._seen.add(call.id)
                reading.calls += 1
                yield call
        reading.format = format.name


def _formats(name: str | None) -> list[Format]:
    entries = sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)
    chosen = [entry for entry in entries if name in (None, entry.name)]
    if not chosen:
        known = ", ".join(entry.name for entry in entries)
        raise InvalidTrace("there is no such format", field="format", value=name, place="replay", remedy=f"Use {known}")
    formats: list[Format] = []
    for entry in chosen:
        try:
            formats.append(entry.load())
        except ImportError:
            continue
    return formats
