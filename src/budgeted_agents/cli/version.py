"""``budgeted-agents version``."""

from __future__ import annotations

import json

import click


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print the version, and where prices come from."""
    from budgeted_agents import PriceBook, __version__

    book = PriceBook.default()
    source = book.price("gpt-4o").source if len(book) else "no price list installed"
    if as_json:
        click.echo(json.dumps({"version": __version__, "prices": source, "models": len(book)}))
    else:
        click.echo(f"budgeted-agents {__version__} (prices: {source}, {len(book):,} models)")
