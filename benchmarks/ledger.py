"""Ledgers: microseconds for a reserve and its settle in memory, and SQLite under many processes.

    python -m benchmarks.ledger

SQLite's reserve is durable (``synchronous=FULL``). The baseline in the same run is what a plain program does: a
transaction that takes the write lock (``BEGIN IMMEDIATE``), durable, with SQLite's own busy timeout and no queue.
"""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from budgeted_agents.ledgers import Ledger, open_ledger
from budgeted_agents.ledgers.contract import Account, Hold, Reservation

SPAWN = multiprocessing.get_context("spawn")
SECONDS = 5.0
HOLDS = tuple(
    Hold(Account(name, ((name, "x"),), "", "usd"), 10**15, 20_000_000, 10_000_000)
    for name in ("session", "user", "day")
)

Pair = Callable[[], None]


@dataclass(frozen=True)
class Worked:
    """What one worker has done: pairs, its longest wait in seconds, and errors of a busy database."""

    pairs: int
    worst: float
    busy: int


def ledger_pair(ledger: Ledger) -> Pair:
    def pair() -> None:
        id = os.urandom(16).hex()
        answer = ledger.reserve(id, HOLDS, floor=128, ask=16_000, now=1.0, ttl=900.0, session="s")
        assert isinstance(answer, Reservation)
        ledger.settle(id, {"usd": 30_000_000}, now=2.0)

    return pair


def plain_pair(path: Path) -> Pair:
    """Two durable transactions over three rows, as a program would write them."""
    db = sqlite3.connect(path, timeout=5, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS account (name PRIMARY KEY, held INT, spent INT)")

    def pair() -> None:
        for held, spent in ((30, 0), (-30, 20)):
            db.execute("BEGIN IMMEDIATE")
            for name in ("session", "user", "day"):
                db.execute(
                    "INSERT INTO account VALUES (?1, ?2, ?3) "
                    "ON CONFLICT DO UPDATE SET held = held + ?2, spent = spent + ?3",
                    (name, held, spent),
                )
            db.execute("COMMIT")

    return pair


def work(kind: str, path: Path, start: float) -> Worked:
    pair = ledger_pair(open_ledger(f"sqlite:///{path}")) if kind == "ledger" else plain_pair(path)
    pair()
    while time.time() < start:
        pass
    pairs, busy, worst = 0, 0, 0.0
    while (begun := time.time()) < start + SECONDS:
        try:
            pair()
            pairs += 1
        except sqlite3.OperationalError:
            busy += 1
        worst = max(worst, time.time() - begun)
    return Worked(pairs, worst, busy)


def sqlite_row(kind: str, processes: int) -> list[Worked]:
    with tempfile.TemporaryDirectory() as folder, SPAWN.Pool(processes) as pool:
        start = time.time() + 2.0
        path = Path(folder) / "spend.db"
        return pool.starmap(work, [(kind, path, start)] * processes)


def memory_micros() -> float:
    pair = ledger_pair(open_ledger("memory://"))
    for _ in range(2_000):
        pair()
    rounds = []
    for _ in range(20):
        begun = time.perf_counter()
        for _ in range(500):
            pair()
        rounds.append((time.perf_counter() - begun) / 500 * 1e6)
    return statistics.median(rounds)


def main() -> int:
    micros = memory_micros()
    print(f"memory: {micros:.1f} us a reserve + settle over 3 accounts (goal: 15)\n")
    print(f"{'SQLite':10}{'processes':>10}{'pairs/s':>10}{'idlest/busiest':>16}{'worst wait':>12}{'busy errors':>13}")
    failed = micros > 15
    for processes in (1, 4, 8):
        for kind in ("plain", "ledger"):
            done = sqlite_row(kind, processes)
            pairs = [worker.pairs for worker in done]
            rate, worst = sum(pairs) / SECONDS, max(worker.worst for worker in done)
            fair, busy = min(pairs) / max(max(pairs), 1), sum(worker.busy for worker in done)
            print(f"{kind:10}{processes:10}{rate:10,.0f}{fair:16.0%}{worst * 1000:9.0f} ms{busy:13}")
            failed |= kind == "ledger" and (busy > 0 or (processes == 8 and (rate < 500 or worst > 0.3)))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
