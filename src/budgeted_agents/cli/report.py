"""``budgeted-agents report``."""

from __future__ import annotations

import time

import click

from budgeted_agents.cli.output import print_report


@click.command("report")
@click.argument("ledger")
@click.option("--session", help="One session, call by call; without it, the balance of every account.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON; fields named *_usd as decimal strings of USD, all other amounts as integers, USD in nano-USD.",
)
def command(ledger: str, session: str | None, as_json: bool) -> None:
    """Print what was spent on LEDGER (e.g. sqlite:///spend.db)."""
    from budgeted_agents.ledgers import open_existing
    from budgeted_agents.reports import account_report, spend_report

    book = open_existing(ledger)
    now = time.time()
    print_report(spend_report(book, session, now=now) if session else account_report(book, now=now), as_json)
