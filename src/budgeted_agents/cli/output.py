"""What commands that print a report as text, JSON or CSV have in common."""

from __future__ import annotations

from collections.abc import Iterable

import click


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
