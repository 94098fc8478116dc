"""``budgeted-agents doctor``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import click

from budgeted_agents.cli.output import print_report


@click.command("doctor")
@click.argument("app")
@click.option("--input", "given", help="What to send, as JSON.  [default: the simplest the app's schema allows]")
@click.option("--context", help="The graph's context, as JSON.  [default: the simplest its schema allows]")
@click.option("--config", help="Parts of the config to run it with, as JSON: configurable, metadata, ...")
@click.option("--run-tools", is_flag=True, help="Run the app's tools too, with whatever they do.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; money as integers in nano-USD.")
def command(
    app: str, given: str | None, context: str | None, config: str | None, run_tools: bool, as_json: bool
) -> None:
    """Prove that the budget of APP (path.to:app) holds, and find what it does not see.

    APP runs on fake models, without a network, on a ledger of its own: nothing is spent. The code of its nodes is run.
    Exit code 0: clean; 1: findings; 2: APP or the input is wrong.
    """
    from budgeted_agents.doctor import examine, load_app
    from budgeted_agents.integrations.litellm import stay_offline

    stay_offline()  # the app may import LiteLLM
    with _quiet(), redirect_stdout(sys.stderr):  # what the app prints is not what the doctor says
        found = load_app(app)
        diagnosis = examine(found, name=app, given=given, config=config, context=context, run_tools=run_tools)
    print_report(diagnosis, as_json)
    sys.exit(0 if diagnosis.is_clean else 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nobody logs that a call was refused: that is what is wanted here."""
    logs = [logging.getLogger(name) for name in ("budgeted_agents", "langchain_core.callbacks.manager")]
    for log in logs:
        log.addFilter(_nothing)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
