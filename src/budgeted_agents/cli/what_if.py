"""``budgeted-agents what-if``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from budgeted_agents.budget import Policy


@click.command("what-if")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--budget", "budgets", multiple=True, help="A policy in one line, e.g. name=tight,usd=0.50,tool_calls=20."
)
@click.option("--policy", "files", multiple=True, type=click.Path(path_type=Path), help="A policy file.")
@click.option("--models", default="", help="Models to step down to, best first, e.g. gpt-4o,gpt-4o-mini.")
@click.option("--prices", type=click.Path(path_type=Path), help="Your own price list; its prices win.")
@click.option("--as-of", help="Price every call as on this day (YYYY-MM-DD, or today), not on its own.")
@click.option("--output-limit", type=click.IntRange(min=1), help="Output limit of each call.  [default: the model's]")
@click.option("--format", "format", help="The format the files are in.  [default: detected]")
@click.option("--fail-over", type=click.IntRange(min=0), help="Exit 1 if more sessions than this would be refused.")
@click.option("--max-cost", help="Exit 1 if a policy would have cost more USD than this.")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), help="Also write a row for each policy and session."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; money as decimal strings of USD.")
def command(
    paths: tuple[str, ...],
    budgets: tuple[str, ...],
    files: tuple[Path, ...],
    models: str,
    prices: Path | None,
    as_of: str | None,
    output_limit: int | None,
    format: str | None,
    fail_over: int | None,
    max_cost: str | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Run other policies over the calls recorded in PATHS.

    Each --budget and each --policy is a policy of its own; they are shown side by side.
    """
    from rich.console import Console

    from budgeted_agents.money import parse_usd
    from budgeted_agents.prices.dated import parse_day
    from budgeted_agents.simulation import what_if
    from budgeted_agents.simulation.sheet import write_csv

    if max_cost is not None:
        parse_usd(max_cost, field="max_cost", place="--max-cost")  # before the work, not after it
    with _progress() as progress:
        report = what_if(
            paths,
            _policies(budgets, files),
            models=[model.strip() for model in models.split(",") if model.strip()],
            prices=prices,
            as_of=parse_day(as_of) if as_of else None,
            output_limit=output_limit,
            format=format,
            progress=progress,
        )
    if csv_file is not None:
        with csv_file.open("w", newline="", encoding="utf-8") as file:
            write_csv(report, file)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        Console().print(report)
    breaches = report.breaches(fail_over=fail_over, max_cost=max_cost)
    for breach in breaches:
        click.echo(breach, err=True)
    if breaches:
        sys.exit(1)


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
