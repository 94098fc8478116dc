"""The group of commands, and what they have in common: errors as one line on stderr, and exit codes.

Exit codes: 0 done; 1 a budget or check said no; 2 bad usage or bad input.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded

_COMMANDS = {name: name for name in ("budget", "demo", "doctor", "ledger", "replay", "report", "version")} | {
    "what-if": "what_if"
}
"""Each command's name and its module, loaded when the command is asked for: ``--help`` stays quick."""


class _LazyGroup(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = import_module(f"budgeted_agents.cli.{module}").command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Keep LLM agents inside their budget."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; never returns."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every pipe's encoding has every character: Windows' have few
    try:
        cli.main(arguments, prog_name="budgeted-agents")
    except BudgetExceeded as error:
        click.echo(f"Budget exceeded: {error}", err=True)
        sys.exit(1)
    except BudgetedAgentsError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
