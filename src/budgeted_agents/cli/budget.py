"""``budgeted-agents budget``: check a policy file, show balances, top up."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from budgeted_agents.cli.output import AMOUNTS_AS_JSON, print_report
from budgeted_agents.errors import JournalUnavailable

if TYPE_CHECKING:
    from budgeted_agents.ledgers import Balance, TopUp


@click.group("budget")
def command() -> None:
    """Check a policy file, show what is left, or top a budget up."""


@command.command("check")
@click.argument("policy", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON; USD as decimal strings.")
def check(policy: Path, as_json: bool) -> None:
    """Check the POLICY file (.toml or .json); exit code 2 and the reason if it is wrong."""
    from budgeted_agents.budget import load_policy
    from budgeted_agents.reports import PolicyReport

    print_report(PolicyReport(load_policy(policy)), as_json)


@command.command("show")
@click.argument("ledger")
@click.option("--budget", help="Only accounts of this budget.")
@click.option("--scope", "scopes", multiple=True, help="Only accounts of e.g. session=t1; again for more.")
@click.option("--tenant", help="Short for --scope tenant=...")
@AMOUNTS_AS_JSON
def show(ledger: str, budget: str | None, scopes: tuple[str, ...], tenant: str | None, as_json: bool) -> None:
    """Show the balances of LEDGER (e.g. sqlite:///spend.db), those nearest to their limit first."""
    from budgeted_agents.ledgers import open_existing
    from budgeted_agents.reports import account_report

    scope = _scope(scopes) | ({"tenant": tenant} if tenant else {})
    print_report(account_report(open_existing(ledger), now=time.time(), budget=budget, scope=scope), as_json)


@command.command("top-up")
@click.argument("ledger")
@click.option("--budget", required=True, help="The budget's name, as `budget show` has it.")
@click.option("--scope", "scopes", multiple=True, help="Whose account, e.g. session=t1; again for more dimensions.")
@click.option("--window", help="The window's id, e.g. m:2026-11, where several are known.")
@click.option("--usd", help="USD to add, e.g. 5 or 0.50.")
@click.option("--tokens", type=int, help="Tokens to add.")
@click.option("--model-calls", type=int, help="Model calls to add.")
@click.option("--tool-calls", type=int, help="Tool calls to add.")
@click.option("--by", required=True, help="Who grants it.")
@click.option("--reason", default="", help="Why.")
@click.option("--id", "id", help="Names the top-up: repeated under the same id it counts once.  [default: a new one]")
@AMOUNTS_AS_JSON
def top_up(
    ledger: str,
    budget: str,
    scopes: tuple[str, ...],
    window: str | None,
    by: str,
    reason: str,
    id: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Raise the limits of one account of LEDGER for good, so that a suspended run can go on."""
    from budgeted_agents.ledgers import open_existing
    from budgeted_agents.ledgers.topping_up import amounts_of, known_lines, top_up
    from budgeted_agents.reports import account_report

    scope, now, id = _scope(scopes), time.time(), id or os.urandom(16).hex()
    session = scope.get("session", "")
    book = open_existing(ledger)
    lines = known_lines(book, budget, scope, amounts_of(**given), window=window)
    told = partial(_write_down, book.url, session)
    top_up(book, lines, id=id, by=by, reason=reason, session=session, now=now, told=told)
    print_report(account_report(book, now=now, budget=budget, scope=scope), as_json)


def _write_down(ledger_url: str, session: str, top_up: TopUp, balance: Balance) -> None:
    """In the ledger's journal, if it keeps one; the ledger has the top-up already."""
    from budgeted_agents.traces import ToppedUp
    from budgeted_agents.traces.records.journal import open_journal

    journal = open_journal(None, ledger_url)
    if journal is None or not journal.path.exists():
        return
    try:
        journal.top_up(ToppedUp.after(top_up, balance, session))
    except JournalUnavailable as error:
        click.echo(f"Warning: the top-up counts, but {error}", err=True)


def _scope(scopes: Sequence[str]) -> dict[str, str]:
    pairs = [scope.partition("=") for scope in scopes]
    if not all(name and separator and value for name, separator, value in pairs):
        raise click.UsageError("--scope wants a dimension and its value, e.g. --scope session=t1")
    return {name: value for name, _, value in pairs}
