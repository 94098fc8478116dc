"""``budgeted-agents ledger``: compare a ledger with its journal, rebuild it from there, let it forget."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from budgeted_agents.cli.output import AMOUNTS_AS_JSON, print_report

if TYPE_CHECKING:
    from budgeted_agents.ledgers import Ledger

_JOURNAL = click.option(
    "--journal",
    type=click.Path(path_type=Path),
    help="The journal's folder, or one of its files.  [default: the ledger's own]",
)
_DAY = 86_400
_BATCH = 1_000
"""Calls forgotten in one transaction, so that no other process waits long."""


@click.group("ledger")
def command() -> None:
    """Compare a ledger with its journal, rebuild it from there, or let it forget."""


@command.command("verify")
@click.argument("ledger")
@_JOURNAL
@AMOUNTS_AS_JSON
def verify(ledger: str, journal: Path | None, as_json: bool) -> None:
    """Compare LEDGER (e.g. sqlite:///spend.db) with its journal; nothing is changed.

    Exit code 0: they say the same; 1: they differ; 2: there is no such ledger or journal.
    """
    from budgeted_agents.ledgers import open_existing

    _compare(open_existing(ledger), _folder(ledger, journal), as_json)


@command.command("rebuild")
@click.argument("ledger")
@_JOURNAL
@AMOUNTS_AS_JSON
def rebuild(ledger: str, journal: Path | None, as_json: bool) -> None:
    """Book in LEDGER what its journal says and it lacks, then compare the two.

    LEDGER may be missing, or have survived in part. To do it twice changes nothing. Exit codes as for `verify`.
    """
    from budgeted_agents.ledgers import open_ledger
    from budgeted_agents.traces import CallRecord
    from budgeted_agents.traces.records.journal import read_journal

    folder = _folder(ledger, journal)
    calls = (line for line in read_journal(folder, []) if isinstance(line.recorded, CallRecord))
    next(calls, None)  # what is no journal is refused before a ledger is made
    _compare(open_ledger(ledger), folder, as_json, restore=True)


@command.command("forget")
@click.argument("ledger")
@click.option("--older-than", "days", type=click.FloatRange(min=1), required=True, metavar="DAYS", help="Keep so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forget(ledger: str, days: float, as_json: bool) -> None:
    """Let LEDGER forget the single calls and notes of long ago, so that its file stops growing.

    Balances, top-ups, and calls of which nobody knows what they cost stay. The journal is not touched.
    """
    import time

    from budgeted_agents.ledgers import open_existing

    book, before, gone = open_existing(ledger), time.time() - days * _DAY, 0
    while (some := book.forget(before, _BATCH)) or any(note.at < before for note in book.notes()):
        gone += some
    what = {"forgotten": gone, "before": before}
    click.echo(json.dumps(what) if as_json else f"{gone:,} calls that ended more than {days:g} days ago are forgotten.")


def _folder(ledger: str, journal: Path | None) -> Path:
    from budgeted_agents.traces.records.journal import open_journal

    if journal is not None:
        return journal
    own = open_journal(None, ledger)
    if own is None:
        raise click.UsageError("this ledger keeps no journal; name one with --journal")
    return own.path


def _compare(book: Ledger, folder: Path, as_json: bool, restore: bool = False) -> None:
    from budgeted_agents.reports.verification import verify
    from budgeted_agents.traces.problems import Problem, Problems
    from budgeted_agents.traces.records.journal import read_journal
    from budgeted_agents.traces.records.rebuild import folded, rebuild

    restored = rebuild(book, read_journal(folder, []), []) if restore else 0
    unreadable: list[Problems] = []
    unusable: list[Problem] = []
    said = folded(read_journal(folder, unreadable), unusable)
    found = verify(book, said, [each for file in unreadable for each in file.kept] + unusable, restored)
    print_report(found, as_json)
    sys.exit(0 if found.agrees else 1)
