"""``budgeted-agents demo``."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from budgeted_agents.errors import BudgetedAgentsError


@click.command("demo")
@click.option("--question", help="What to find out.")
@click.option("--docs", type=click.Path(path_type=Path), help="Folder of .md, .rst or .txt files to search.")
@click.option("--budget", "usd", help="USD for the run that is shown live.  [default: 0.05]")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="LiteLLM name, e.g. openai/gpt-4o or ollama/llama3.2; again for a cheaper one to step down to. "
    "Without it a local provider answers: no key, no network.",
)
@click.option("--api-base", help="Where the models named by --model are served.")
@click.option("--ledger", default="memory://", show_default=True, help="Where the money is kept.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    help="Folder to write the calls down in.  [default: the ledger's own, or a temporary one]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the show.")
def command(
    question: str | None,
    docs: Path | None,
    usd: str | None,
    models: tuple[str, ...],
    api_base: str | None,
    ledger: str,
    journal: Path | None,
    as_json: bool,
) -> None:
    """Watch a research agent work inside a budget, step down to a cheaper model, and land.

    Afterward the same question is asked under three budgets, side by side.
    """
    from rich.console import Console
    from rich.text import Text

    from budgeted_agents.budget import Budget
    from budgeted_agents.demo import compare, opened, three_budgets, watch
    from budgeted_agents.demo.setting import BUDGET
    from budgeted_agents.traces.records.journal import open_journal

    logging.getLogger("budgeted_agents").setLevel(logging.CRITICAL)  # the show prints events itself
    console = Console(stderr=as_json, quiet=as_json)
    budget = Budget(
        usd=BUDGET if usd is None else usd,
        tool_calls=40,
        loops=30,
        context_tokens=32_000,
        alert_at=0.5,
        downgrade_at=0.75,
        landing_reserve=0.1,
    )
    with opened(question, docs, models, api_base) as setting, _providers_errors():
        console.print(Text(setting.question, style="bold"))
        console.print(Text(f"{setting.docs} · budget ${budget.usd}\n", style="dim"))
        with console.status("Loading LiteLLM ..."):
            setting.load()
        own = open_journal(journal, ledger)
        folder = own.path if own else Path(tempfile.mkdtemp(prefix="budgeted-agents-demo-")) / "journal"
        shown = watch(console, setting, budget, ledger, folder)
        console.print()
        compared = compare(console, setting, three_budgets(budget))
    console.print(Text(f"Replay the first run: budgeted-agents replay {folder}", style="dim"), soft_wrap=True)
    if as_json:
        click.echo(json.dumps({"live": shown, "compared": compared}, indent=2))


@contextmanager
def _providers_errors() -> Iterator[None]:
    """What a provider raises (a wrong key, no such model, nobody listening) as one line."""
    try:
        yield
    except BudgetedAgentsError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise click.ClickException(f"{type(error).__name__}: {lines[0][:300]}") from error
