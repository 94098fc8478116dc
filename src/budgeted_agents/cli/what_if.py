"""``budgeted-agents what-if``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from budgeted_agents.cli.output import check_one_output, print_report, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from budgeted_agents.budget import Policy
    from budgeted_agents.simulation import WhatIfReport


@click.command("what-if")
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...")
@click.option(
    "--budget", "budgets", multiple=True, help="A policy in one line: usd=0.50 or name=tight,usd=1,tool_calls=9"
)
@click.option("--policy", "files", multiple=True, type=click.Path(path_type=Path), help="A policy file.")
@click.option("--models", default="", help="Models to step down to, best first, e.g. gpt-4o,gpt-4o-mini.")
@click.option("--format", "format", help="What the files are.  [default: detected, file by file]")
@click.option("--prices", type=click.Path(path_type=Path), help="JSON price list that wins; may hold lists by date.")
@click.option("--as-of", help="Price every call as on this day, or 'today'.  [default: each as on its own day]")
@click.option(
    "--output-limit", type=click.IntRange(1), help="Output tokens a call asks for.  [default: its model's most]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; money as decimal strings of USD.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each policy and session.")
@click.option("--fail-over", type=click.IntRange(0), help="Exit 1 if a policy ends more sessions than this.")
@click.option("--max-cost", help="Exit 1 if under a policy all sessions cost more USD than this.")
def command(
    paths: tuple[str, ...],
    budgets: tuple[str, ...],
    files: tuple[Path, ...],
    models: str,
    format: str | None,
    prices: Path | None,
    as_of: str | None,
    output_limit: int | None,
    as_json: bool,
    as_csv: bool,
    fail_over: int | None,
    max_cost: str | None,
) -> None:
    """Run other policies over the calls recorded in PATHS.

    PATHS are files, folders and patterns, whoever wrote them. Each --budget and each --policy is a policy of its own,
    and they are shown side by side: which sessions would have been alerted, stepped down or ended, at which call, what
    that would have saved and what work it would have cut. Exit code 0: done; 1: --fail-over or --max-cost says no; 2: a
    path, a price, a model or a policy is wrong.
    """
    from budgeted_agents.money import parse_usd
    from budgeted_agents.simulation import what_if

    check_one_output(as_json, as_csv)
    if max_cost is not None:
        parse_usd(max_cost, field="max_cost", place="--max-cost")  # before the work, not after it
    with _progress() as progress:
        report = what_if(
            paths,
            _policies(budgets, files),
            models=[model.strip() for model in models.split(",") if model.strip()],
            prices=prices,
            as_of=as_of,
            output_limit=output_limit,
            format=format,
            progress=progress,
        )
    if as_csv:
        _print_csv(report)
    else:
        print_report(report, as_json)
    breaches = report.breaches(fail_over=fail_over, max_cost=max_cost)
    for breach in breaches:
        click.echo(breach, err=True)
    sys.exit(1 if breaches else 0)


def _print_csv(report: WhatIfReport) -> None:
    from budgeted_agents.reports.csv_rows import write_rows

    write_rows(report.rows(), sys.stdout)
    warn(report.warnings)


def _policies(budgets: tuple[str, ...], files: tuple[Path, ...]) -> dict[str, Policy]:
    from budgeted_agents.budget import Policy, load_policy, parse_budget

    if not budgets and not files:
        raise click.UsageError("Give at least one policy: --budget usd=0.50, or --policy policy.toml.")
    found: dict[str, Policy] = {}
    policies = [(text, Policy((parse_budget(text),))) for text in budgets]
    policies += [(file.stem, load_policy(file)) for file in files]
    for name, policy in policies:
        given = policy.budgets[0].name if "name=" in name else name
        if given in found:
            raise click.UsageError(
                f"Two policies are named {given!r}. Name a budget, e.g. --budget name=tight,usd=0.50."
            )
        found[given] = policy
    return found


@contextmanager
def _progress() -> Iterator[Callable[[int], Any] | None]:
    """How many calls are done, on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status("Reading traces") as status:
        yield lambda calls: status.update(f"Simulating: {calls:,} calls")
