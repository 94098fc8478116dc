"""A thread that goes on in another process goes on with what is left of its budget, never with a fresh one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.ledgers import open_ledger
from budgeted_agents.reports import spend_report
from budgeted_agents.testing import LocalProvider, fixed
from tests.langgraph.support import serving
from tests.resume.suspended import STEPS

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed(" word" * 30, output_tokens=30)) as running:
        yield running


def process(provider: LocalProvider, folder: Path, *command: str) -> subprocess.Popen[str]:
    """Another process at the same thread, ledger and checkpoints, with strict msgpack on."""
    environment = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}"}
    arguments = [sys.executable, "-m", "tests.resume.suspended", provider.base_url, str(folder), *command]
    return subprocess.Popen(arguments, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True)


def run(provider: LocalProvider, folder: Path, *command: str) -> Any:
    worker = process(provider, folder, *command)
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    return json.loads(output.splitlines()[-1])


def test_another_process_goes_on_with_what_is_left(provider: LocalProvider, tmp_path: Path) -> None:
    started = run(provider, tmp_path, "start")
    assert len(started["answers"]) == len(provider.requests) == 2
    assert started["next"] == ["work"]

    again = run(provider, tmp_path, "resume")
    assert len(again["answers"]) == len(provider.requests) == 2  # no fresh budget, no call

    done = run(provider, tmp_path, "top-up", "2")
    assert len(done["answers"]) == len(provider.requests) == STEPS
    assert done["next"] == []
    report = done["report"]
    assert [(t["amount"], t["by"], t["reason"]) for t in report["top_ups"]] == [(2, "test", "more parts")]
    assert Decimal(report["cost_usd"]) == provider.bill_usd
    calls = next(balance for balance in report["balances"] if balance["unit"] == "model_calls")
    assert (calls["limit"], calls["spent"], calls["held"]) == (4, 4, 0)


def test_a_killed_process_leaves_its_hold_and_the_next_one_cannot_spend_it(
    provider: LocalProvider, tmp_path: Path
) -> None:
    provider.gate.close()
    worker = process(provider, tmp_path, "start")
    provider.gate.wait_for(1, timeout=60)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=60)
    provider.gate.open()

    resumed = run(provider, tmp_path, "resume")  # the node was interrupted: it runs again, on the second call
    assert len(resumed["answers"]) == 1
    assert resumed["next"] == ["work"]
    assert resumed["report"]["in_flight"] == 1
    assert len(provider.requests) == 2  # one of the killed process, one of this: both are paid for

    ledger = open_ledger(f"sqlite:///{tmp_path / 'spend.db'}")
    late = max(entry.deadline for entry in ledger.entries("t1")) + 1
    report = spend_report(ledger, "t1", now=late)
    ledger.close()
    assert [call.outcome for call in report.calls] == ["presumed", "settled"]
    assert report.cost_nanos >= provider.bill_nanos
