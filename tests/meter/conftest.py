"""Every test of the meter that asks for a ledger runs on a ledger in memory and on one in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from budgeted_agents.ledgers.contract import Ledger
from budgeted_agents.ledgers.memory import MemoryLedger
from budgeted_agents.ledgers.sqlite import SqliteLedger


@pytest.fixture(params=["memory", "sqlite"])
def new_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    """Makes ledgers, each empty."""
    opened: list[Ledger] = []

    def make() -> Ledger:
        ledger: Ledger = (
            MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / f"spend-{len(opened)}.db")
        )
        opened.append(ledger)
        return ledger

    yield make
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(new_ledger: Callable[[], Ledger]) -> Ledger:
    return new_ledger()
