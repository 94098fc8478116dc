"""Both ledgers keep the contract."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgeted_agents.ledgers import Ledger, MemoryLedger, open_ledger
from budgeted_agents.testing.ledger_contract import LedgerContract


class TestMemoryLedger(LedgerContract):
    @pytest.fixture
    def ledger(self) -> Iterator[Ledger]:
        with contextlib.closing(MemoryLedger()) as ledger:
            yield ledger


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[Ledger]:
        with contextlib.closing(open_ledger(f"sqlite:///{tmp_path}/spend.db")) as ledger:
            yield ledger
