"""``replay``: from trace files to their audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import DatedPrices
from budgeted_agents.prices.dated import parse_day
from budgeted_agents.reports.audit import AuditReport, FileAudit, audit_report
from budgeted_agents.traces.audit import Audit
from budgeted_agents.traces.reading import Reader, Reading

Progress = Callable[[int, str], None]
"""Told now and then how many calls were read, and from which file they come."""

_NOW_AND_THEN = 10_000


def replay(
    paths: str | Path | Iterable[str | Path],
    *,
    format: str | None = None,
    prices: str | Path | None = None,
    as_of: date | str | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit traces: what each session really cost, and whether the recorded figure can be believed.

    Args:
        paths: files, folders, and patterns such as ``logs/**/*.jsonl``.
        format: what the files are; detected for each file if not given.
        prices: a price list whose prices win: JSON in LiteLLM's shape, or several such lists by date.
        as_of: price every call as on this day (``"2025-06-11"``, ``"today"``); by default each as on its own.
        progress: told now and then how far it is.

    Raises:
        InvalidTrace: there is nothing at a path, or no file can be read.
        InvalidPrice: the price list or the day is bad.
    """
    dated = DatedPrices.load(prices, parse_day(as_of) if isinstance(as_of, str) else as_of)
    reader = Reader([paths] if isinstance(paths, str | Path) else paths, format)
    audit = Audit(dated)
    for number, call in enumerate(reader.calls(), 1):
        audit.add(call)
        if progress is not None and number % _NOW_AND_THEN == 0:
            progress(number, reader.readings[-1].path)
    files = [_file(reading) for reading in reader.readings]
    _check_readable(files)
    return audit_report(audit, files, knows_history=dated.knows_history)


def _file(reading: Reading) -> FileAudit:
    problems = reading.problems
    return FileAudit(reading.path, reading.format, reading.calls, problems.skipped, tuple(problems.kept))


def _check_readable(files: list[FileAudit]) -> None:
    if any(file.format for file in files):
        return
    first = next((problem for file in files for problem in file.problems), None)
    raise InvalidTrace(
        f"no file could be read ({first})" if first else "there are no files",
        field="paths",
        value=[file.path for file in files][:3],
        place="replay",
        remedy="Give trace files, or folders of them; --format names the format where it is not recognized",
    )
