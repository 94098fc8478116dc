"""``docs/cli.md`` shows each command's own ``--help``."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from budgeted_agents.cli.main import cli
from tests.docs.blocks import blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = cli.list_commands(click.Context(cli))


def help_of(*command: str) -> str:
    """What ``budgeted-agents ... --help`` prints on a terminal of 80 columns."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(cli, [*command, "--help"], prog_name="budgeted-agents")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda c: " ".join(c) or "all")
def test_the_page_shows_the_help(command: tuple[str, ...]) -> None:
    shown = [block.code for block in blocks_of(PAGE.read_text(encoding="utf-8")) if block.language == "text"]
    assert help_of(*command) in shown


def test_each_command_has_a_heading() -> None:
    headings = {line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")}
    assert {f"## `{name}`" for name in COMMANDS} <= headings
