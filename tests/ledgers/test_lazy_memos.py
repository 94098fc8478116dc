"""A memo that writes itself is kept by every ledger, and reads like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from budgeted_agents.ledgers import Account, Hold, Ledger, MemoryLedger
from budgeted_agents.ledgers.sqlite import SqliteLedger

HOLD = Hold(Account("session"), 100, 10)


class Written(NamedTuple):
    """A memo made of two values."""

    name: str
    flags: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    opened: Ledger = MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "spend.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("ending", ["settle", "release", "presume"])
def test_a_memo_that_writes_itself(ledger: Ledger, ending: str) -> None:
    ledger.reserve("a", [HOLD], floor=0, ask=0, now=1.0, ttl=10.0, memo=Written("opened", ("x",)))
    record = Written("ended", ())
    if ending == "settle":
        ledger.settle("a", {"usd": 5}, now=2.0, record=record)
    else:
        getattr(ledger, ending)("a", now=2.0, record=record)
    (entry,) = ledger.entries()
    assert entry.memo == {"name": "opened", "flags": ["x"]}
    assert entry.record == {"name": "ended", "flags": []}
    entry.memo["flags"].append("changed by a reader")
    (again,) = ledger.entries()
    assert again.memo == {"name": "opened", "flags": ["x"]}
