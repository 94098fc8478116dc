"""What only a file can get wrong: processes, forks, faults of the disk, programs that hold it."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgeted_agents.errors import LedgerUnavailable
from budgeted_agents.ledgers import Account, Hold, Ledger, Reservation
from budgeted_agents.ledgers.sqlite import SqliteLedger
from budgeted_agents.ledgers.sqlite.turns import Turns

ACCOUNT = Account("session", (("session", "s1"),))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with contextlib.closing(SqliteLedger(tmp_path / "spend.db")) as ledger:
        yield ledger


def reserve(ledger: Ledger, id: str, base: int = 1) -> Reservation:
    answer = ledger.reserve(id, [Hold(ACCOUNT, 1000, base)], floor=0, ask=0, now=1, ttl=10)
    assert isinstance(answer, Reservation)
    return answer


def held(ledger: Ledger) -> int:
    return ledger.balances([ACCOUNT])[0].held


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_one_file_opened_twice_is_one_ledger(ledger: SqliteLedger, tmp_path: Path) -> None:
    other = SqliteLedger(tmp_path / "spend.db")
    reserve(ledger, "a", 3)
    reserve(other, "b", 4)
    assert held(ledger) == held(other) == 7
    other.close()
    reserve(ledger, "c", 5)
    assert held(ledger) == 12


def test_a_file_opened_by_a_link_is_the_same_ledger(ledger: SqliteLedger, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("spend.db")
    with contextlib.closing(SqliteLedger(tmp_path / "link.db")) as linked:
        reserve(linked, "a", 3)
        assert linked.url == ledger.url
    assert not list(tmp_path.glob("link.db?*"))


def test_ledgers_that_are_dropped_leave_nothing_open(tmp_path: Path) -> None:
    gc.collect()
    before = descriptors()
    for _ in range(5):
        reserve(SqliteLedger(tmp_path / "spend.db"), "a")
    gc.collect()
    assert descriptors() <= before


def test_a_queue_that_was_given_up_leaves_nothing_open_and_closes_nothing_of_others(tmp_path: Path) -> None:
    path, first = tmp_path / "queue", Turns(tmp_path / "queue", 0.01)
    gc.collect()
    before = descriptors()
    second = Turns(path, 0.01)
    with first.turn():
        with pytest.raises(LedgerUnavailable, match=r"kept .* locked"), second.turn():
            pass
        waiters = [thread for thread in threading.enumerate() if thread.name == "ledger-queue"]
    for waiter in waiters:
        waiter.join()
    with (tmp_path / "other").open("w"):  # it has the number of the descriptor that was given up
        with second.turn():
            pass
        del second
        assert descriptors() == before + 1
    first.close()


def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    first = SqliteLedger(tmp_path / "spend.db")
    reserve(first, "a", 3)
    entries = list(first.entries())
    first.close()
    assert not (tmp_path / "spend.db-wal").exists()
    second = SqliteLedger(tmp_path / "spend.db")
    assert list(second.entries()) == entries
    assert second.settle("a", {"usd": 2}, now=2).balances[0].spent == 2
    second.close()


def test_the_reserve_is_synchronous_and_the_settle_need_not_be(ledger: SqliteLedger) -> None:
    writer = ledger._store._writer
    assert writer is not None
    reserve(ledger, "a")
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)
    ledger.settle("a", {"usd": 1}, now=2)
    assert writer.execute("PRAGMA synchronous").fetchone() == (1,)
    reserve(ledger, "b")
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_both_sides_of_a_fork_go_on_with_connections_of_their_own(ledger: SqliteLedger) -> None:
    """Other threads write all the while, so that a fork in the middle of a transaction would be noticed."""
    stop = threading.Event()
    written: list[int] = []

    def write(name: str) -> None:
        count = 0
        while not stop.is_set():
            reserve(ledger, f"{name}-{count}", 0)
            count += 1
        written.append(count)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("x", "y")]
    for thread in threads:
        thread.start()
    for number in range(10):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                reserve(ledger, f"child-{number}", 1)
                ledger.close()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert held(ledger) == 10
    assert len(list(ledger.entries())) == 10 + sum(written)


def test_a_file_removed_or_replaced_while_open_is_noticed(ledger: SqliteLedger, tmp_path: Path) -> None:
    reserve(ledger, "a")
    (tmp_path / "spend.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        reserve(ledger, "b")
    (tmp_path / "spend.db").touch()
    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        ledger.settle("a", {"usd": 1}, now=2)
    (tmp_path / "elsewhere.db").rename(tmp_path / "spend.db")
    reserve(ledger, "b")


def test_a_full_disk_refuses_and_harms_nothing(ledger: SqliteLedger) -> None:
    reserve(ledger, "a", 5)
    writer = ledger._store._writer
    assert writer is not None
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerUnavailable, match="full"):
        ledger.note("s", {"much": "x" * 100_000}, now=1)
    assert list(ledger.notes()) == []
    assert held(ledger) == 5
    writer.execute("PRAGMA max_page_count = 1000000")
    ledger.note("s", {"much": "x" * 100_000}, now=1)


def test_a_file_cut_short_is_unavailable(ledger: SqliteLedger, tmp_path: Path) -> None:
    reserve(ledger, "a", 5)
    ledger.close()
    with (tmp_path / "spend.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    broken = SqliteLedger(tmp_path / "spend.db")
    with pytest.raises(LedgerUnavailable, match="cannot be read or written"):
        reserve(broken, "b")
    broken.close()


def test_another_programs_lock_is_waited_for_but_not_forever(ledger: SqliteLedger, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        reserve(ledger, "a")
    assert held(ledger) == 0  # readers wait for nobody
    assert ledger.expire(2) == []  # nothing is overdue, so there is nothing to write
    other.execute("ROLLBACK")
    reserve(ledger, "a")
    other.close()


def test_a_turn_that_never_comes_is_given_up_and_found_again(ledger: SqliteLedger, tmp_path: Path) -> None:
    """As when the worker whose turn it is was stopped."""
    with (tmp_path / "spend.db-queue").open() as queue:
        fcntl.flock(queue, fcntl.LOCK_EX)
        with pytest.raises(LedgerUnavailable, match=r"kept .* locked"):
            reserve(ledger, "a")
        fcntl.flock(queue, fcntl.LOCK_UN)
    reserve(ledger, "a")
    reserve(ledger, "b")
    assert held(ledger) == 2


def test_reports_page_by_page_do_not_hold_up_writers(ledger: SqliteLedger) -> None:
    for number in range(600):
        reserve(ledger, f"id{number}", 0)
    entries = ledger.entries()
    next(entries)
    reserve(ledger, "late", 0)
    assert [entry.id for entry in entries][-1] == "late"
