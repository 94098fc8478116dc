"""What commands that print a report as text, JSON or CSV have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

import click

AMOUNTS_AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; amounts as integers, USD in nano-USD."
)


class Report(Protocol):
    """What can be printed; Rich knows how to show it."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""


def print_report(report: Report, as_json: bool) -> None:
    """As JSON, or as it shows itself on a terminal."""
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    from rich.console import Console

    Console().print(report)


def check_one_output(as_json: bool, as_csv: bool) -> None:
    """Two reports in one output can be read by nobody.

    Raises:
        click.UsageError: both are asked for.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")


def warn(warnings: Iterable[str]) -> None:
    """Say on stderr what a CSV has no place for."""
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
