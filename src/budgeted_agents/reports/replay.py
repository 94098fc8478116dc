"""``replay``: from trace files to their audit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import partial
from pathlib import Path

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import DatedPrices, PricesLike
from budgeted_agents.prices.dated import parse_day
from budgeted_agents.prices.history import PriceHistory
from budgeted_agents.reports.audit import AuditReport, FileAudit, audit_report, file_audit
from budgeted_agents.traces.audit.export import write_parquet
from budgeted_agents.traces.audit.scan import Progress, scan, trace_calls

Paths = str | Path | Iterable[str | Path]


def replay(
    paths: Paths,
    *,
    format: str | None = None,
    prices: PricesLike = None,
    as_of: date | str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit traces: what each session really cost, and whether the recorded figure can be believed.

    Args:
        paths: files, folders, and patterns such as ``logs/**/*.jsonl``.
        format: what the files are; detected for each file if not given.
        prices: what models cost: a file whose prices win (JSON in LiteLLM's shape, or several such lists by date), or a
            ``PriceBook`` or ``DatedPrices``, which are asked alone.
        as_of: price every call as on this day (``"2025-06-11"``, ``"today"``); by default each as on its own.
        workers: how many processes read; by default as many as are worth their start.
        progress: told now and then how many bytes of how many are done.

    Raises:
        InvalidTrace: there is nothing at a path, no file can be read, or ``workers`` is below 1.
        InvalidPrice: the price list or the day is bad.
    """
    if workers is not None and workers < 1:
        remedy = "Give a number from 1 on, or None for as many as are worth their start"
        raise InvalidTrace("is no number of processes", field="workers", value=workers, place="replay", remedy=remedy)
    load = partial(DatedPrices.of, prices, parse_day(as_of))
    scanned = scan(_several(paths), format=format, prices=load, workers=workers, progress=progress)
    files = [file_audit(result) for result in scanned.files]
    _check_readable(files)
    return audit_report(scanned.audit, files, [*scanned.warnings, *_on_prices(prices, as_of)])


def export(
    paths: Paths,
    file: str | Path,
    *,
    format: str | None = None,
    prices: PricesLike = None,
    as_of: date | str | None = None,
) -> int:
    """Write the calls of traces to a Parquet file, each with its prices, for an audit in SQL.

    Args:
        paths: as for `replay`, and so are ``format``, ``prices`` and ``as_of``.
        file: what to write.

    Returns:
        How many calls there were.

    Raises:
        InvalidTrace: there is nothing at a path, DuckDB is not installed, or the file cannot be written.
        InvalidPrice: the price list or the day is bad.
    """
    dated = DatedPrices.of(prices, parse_day(as_of))
    return write_parquet(trace_calls(_several(paths), format=format), dated, Path(file))


def _several(paths: Paths) -> Iterable[str | Path]:
    return [paths] if isinstance(paths, str | Path) else paths


def _on_prices(prices: PricesLike, as_of: date | str | None) -> list[str]:
    if prices is not None or as_of is not None or PriceHistory.is_installed():
        return []
    return ["All calls are priced by today's list: former prices come with budgeted-agents[replay]."]


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
