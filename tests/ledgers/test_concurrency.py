"""Exactly as many calls as the money covers are admitted, whoever asks at once, and the last cent is usable."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from budgeted_agents.ledgers import Ledger, MemoryLedger, open_ledger
from budgeted_agents.ledgers.contract import Account, Hold, Reservation

SESSION, TENANT = Account("session", (("session", "s"),)), Account("tenant", (("tenant", "t"),))
COST, ADMITTED = 7, 150
LIMIT = COST * ADMITTED
WORKERS, ASKS = 8, 40
SPAWN = multiprocessing.get_context("spawn")

HOLDS = (Hold(SESSION, LIMIT, COST), Hold(TENANT, LIMIT + 1_000, COST))


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    opened = MemoryLedger() if request.param == "memory" else open_ledger(f"sqlite:///{tmp_path}/spend.db")
    with contextlib.closing(opened) as ledger:
        yield ledger


def ask(ledger: Ledger, times: int, pause: Callable[[], object] = lambda: None) -> int:
    """Ask for one call after the other and settle each; how many were admitted."""
    pause()
    admitted = 0
    for _ in range(times):
        id = os.urandom(16).hex()
        if isinstance(ledger.reserve(id, HOLDS, floor=0, ask=0, now=1, ttl=900), Reservation):
            admitted += 1
            ledger.settle(id, {"usd": COST}, now=2)
    return admitted


def check(ledger: Ledger, admitted: list[int]) -> None:
    assert sum(admitted) == ADMITTED
    session, tenant = ledger.balances([SESSION, TENANT])
    assert (session.spent, session.held, session.available) == (LIMIT, 0, 0)
    assert (tenant.spent, tenant.held) == (LIMIT, 0)
    assert sum(dict(entry.charged)[SESSION.key] for entry in ledger.entries()) == LIMIT


def test_threads_are_admitted_exactly_as_often_as_the_money_covers(ledger: Ledger) -> None:
    barrier = threading.Barrier(WORKERS)
    with ThreadPoolExecutor(WORKERS) as threads:
        done = [threads.submit(ask, ledger, ASKS, barrier.wait) for _ in range(WORKERS)]
        check(ledger, [future.result() for future in done])


def _in_process(url: str) -> int:
    with contextlib.closing(open_ledger(url)) as ledger:
        return ask(ledger, ASKS)


def test_processes_are_admitted_exactly_as_often_as_the_money_covers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    with SPAWN.Pool(WORKERS) as pool:
        admitted = pool.map(_in_process, [url] * WORKERS, chunksize=1)
    with contextlib.closing(open_ledger(url)) as ledger:
        check(ledger, admitted)


def test_what_is_left_is_granted_to_the_last_step(ledger: Ledger) -> None:
    hold = Hold(SESSION, 1_000, 100, rate=3_000)
    barrier = threading.Barrier(WORKERS)

    def reserve(number: int) -> int:
        barrier.wait()
        answer = ledger.reserve(f"call-{number}", [hold], floor=10, ask=1_000, now=1, ttl=900)
        return answer.granted if isinstance(answer, Reservation) else 0

    with ThreadPoolExecutor(WORKERS) as threads:
        granted = list(threads.map(reserve, range(WORKERS)))
    assert sorted(granted)[-1] == 300  # (1000 - 100) / 3: the first takes all there is
    assert sum(map(bool, granted)) == 1
    assert ledger.balances([SESSION])[0].available == 0
