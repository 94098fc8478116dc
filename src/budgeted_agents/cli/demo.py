"""``budgeted-agents demo``."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click


@click.command("demo")
@click.option("--question", help="What to find out.")
@click.option("--docs", type=click.Path(path_type=Path), help="Folder of .md, .rst or .txt files to search.")
@click.option("--budget", "usd", help="USD for the run that is shown live.  [default: 0.06]")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="LiteLLM name, e.g. openai/gpt-4o or ollama/llama3.2; again for a cheaper one to step down to. "
    "Without it a local provider answers: no key, no network.",
)
@click.option("--api-base", help="Where the models named by --model are served.")
@click.option("--ledger", default="memory://", show_default=True, help="Where the money is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the show.")
def command(
    question: str | None,
    docs: Path | None,
    usd: str | None,
    models: tuple[str, ...],
    api_base: str | None,
    ledger: str,
    as_json: bool,
) -> None:
    """Watch a research agent work inside a budget, step down to a cheaper model, and land.

    Afterwards the same question is asked under three budgets, side by side.
    """
    from rich.console import Console

    from budgeted_agents.budget import Budget
    from budgeted_agents.demo import compare, opened, three_budgets, watch
    from budgeted_agents.demo.setting import BUDGET

    logging.getLogger("budgeted_agents").setLevel(logging.CRITICAL)  # the show prints events itself
    console = Console(stderr=as_json, quiet=as_json)
    budget = Budget(usd=usd or BUDGET, tool_calls=20, loops=12, context_tokens=16_000)
    with opened(question, docs, models, api_base) as setting:
        console.print(f"[bold]{setting.question}[/bold]\n[dim]{setting.docs} · budget ${budget.usd}[/dim]\n")
        with console.status("Loading LiteLLM ..."):
            setting.load()
        shown = watch(console, setting, budget, ledger)
        console.print()
        compared = compare(console, setting, three_budgets(budget))
    if as_json:
        click.echo(json.dumps({"live": shown, "compared": compared}, indent=2))
