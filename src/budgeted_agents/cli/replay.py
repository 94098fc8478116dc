"""``budgeted-agents replay``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import click

from budgeted_agents.cli.output import check_one_output, print_report, warn

if TYPE_CHECKING:
    from budgeted_agents.reports.audit import AuditReport
    from budgeted_agents.traces.audit.scan import Progress

# Copied from ``traces.audit``, because the help is shown without importing that; a test compares them.
_GROUPINGS = ("session", "model", "node", "tool", "tenant", "feature", "day")
_VERDICTS = (
    "mismatch",
    "unpriced",
    "recorded_missing",
    "constant_ratio",
    "explained_by_logged_price",
    "explained_by_unrecorded_cache",
    "explained_by_cache_ttl",
    "rounding",
)
_LONG = 1.0
"""Seconds after which work is long enough to say how far it is."""


@click.command("replay")
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...")
@click.option("--format", "format", help="What the files are.  [default: detected, file by file]")
@click.option("--prices", type=click.Path(path_type=Path), help="JSON price list that wins; may hold lists by date.")
@click.option("--as-of", help="Price every call as on this day, or 'today'.  [default: each as on its own day]")
@click.option("--by", type=click.Choice(_GROUPINGS), default="model", show_default=True, help="Group calls by this.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Sessions and groups to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; money as decimal strings of USD.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each of what --by says.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with charts to this file.")
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the calls with their prices to this file, for an audit in SQL.",
)
@click.option(
    "--fail-on",
    type=click.Choice(_VERDICTS),
    multiple=True,
    metavar="VERDICT",
    help="Exit 1 if a call or session has this verdict, e.g. mismatch; again for more.",
)
def command(
    paths: tuple[str, ...],
    format: str | None,
    prices: Path | None,
    as_of: str | None,
    by: str,
    top: int,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
    parquet: Path | None,
    fail_on: tuple[str, ...],
) -> None:
    """Audit the traces in PATHS (files, folders, patterns), whoever wrote them.

    What each session really cost, whether the recorded cost can be believed, and where the money went. Exit code 0:
    done; 1: a verdict of --fail-on was found; 2: a path, price or day is wrong, or nothing could be read.
    """
    from budgeted_agents.reports.replay import replay

    check_one_output(as_json, as_csv)
    with _progress() as progress:
        report = replay(paths, format=format, prices=prices, as_of=as_of, progress=progress)
    if html is not None:
        _write_page(report, html)
    if parquet is not None:
        _write_calls(paths, format, prices, as_of, parquet)
    if as_json:
        print_report(report, as_json)
    elif as_csv:
        _print_csv(report, by)
    else:
        _print_table(report, by, top)
    sys.exit(1 if any(verdict in report.verdicts or verdict in report.session_verdicts for verdict in fail_on) else 0)


def _write_page(report: AuditReport, file: Path) -> None:
    from budgeted_agents.reports.audit.page import audit_page

    try:
        file.write_text(audit_page(report), encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"{file} cannot be written ({error.strerror})", param_hint="--html") from error
    click.echo(f"Wrote {file}", err=True)


def _write_calls(
    paths: tuple[str, ...], format: str | None, prices: Path | None, as_of: str | None, file: Path
) -> None:
    from budgeted_agents.reports.replay import export

    calls = export(paths, file, format=format, prices=prices, as_of=as_of)
    click.echo(f"Wrote {calls:,} calls to {file}", err=True)


def _print_csv(report: AuditReport, by: str) -> None:
    from budgeted_agents.reports.csv_rows import write_rows

    write_rows(report.rows(by), sys.stdout)
    warn(report.warnings)


def _print_table(report: AuditReport, by: str, top: int) -> None:
    from rich.console import Console

    from budgeted_agents.reports.audit.table import AuditTable

    Console().print(AuditTable(report, by, top))


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, on stderr, for work that takes longer than a moment."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress("Reading", *columns, console=Console(stderr=True), transient=True)
    task, begin = bar.add_task("", total=None), Timer(_LONG, bar.start)
    if sys.stderr.isatty():
        begin.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        begin.cancel()
        if begin.ident is not None:
            begin.join()
        if bar.live.is_started:  # else it would end a line that nobody has begun
            bar.stop()
