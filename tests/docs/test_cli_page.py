"""``docs/cli.md`` shows each command's own ``--help``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from budgeted_agents.cli.main import cli
from tests.docs.blocks import blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups included, as they are typed."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


def help_of(*command: str) -> str:
    """What ``budgeted-agents ... --help`` prints on a terminal of 80 columns."""
    code = "from budgeted_agents.cli import main; main()"
    terminal = os.environ | {"COLUMNS": "80"}
    arguments = [sys.executable, "-c", code, *command, "--help"]
    return subprocess.run(arguments, env=terminal, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("command", list(commands(cli)), ids=lambda command: " ".join(command) or "all")
def test_the_page_shows_the_help(command: tuple[str, ...]) -> None:
    shown = [block.code for block in blocks_of(PAGE.read_text(encoding="utf-8")) if block.language == "text"]
    assert help_of(*command) in shown


def test_each_command_has_a_heading() -> None:
    headings = {line.lstrip("#") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("##")}
    assert {f" `{' '.join(command)}`" for command in commands(cli) if command} <= headings
