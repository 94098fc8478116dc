"""The command ``budgeted-agents``: one file a command, each a thin shell over a room."""

from budgeted_agents.cli.main import main

__all__ = ["main"]
