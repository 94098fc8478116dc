"""What only a ledger in memory does: it forgets by itself, so that a process may run for months."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from budgeted_agents.ledgers import Account, Balance, Hold, MemoryLedger, Reservation, State
from budgeted_agents.ledgers.memory import FEWEST_DEADLINES
from budgeted_agents.testing.ledger_steps import expired

NOW = 1_800_000_000.0
ACCOUNT = Account("session")


def reserve(ledger: MemoryLedger, id: str, now: float = NOW) -> None:
    answer = ledger.reserve(id, [Hold(ACCOUNT, 1_000_000, 10)], floor=0, ask=0, now=now, ttl=60, session=f"s{id[-1]}")
    assert isinstance(answer, Reservation)


def spend(ledger: MemoryLedger, calls: range) -> None:
    for number in calls:
        reserve(ledger, f"call {number}", NOW + number / 100)
        ledger.settle(f"call {number}", {"usd": 7}, now=NOW + number / 100)


def test_no_more_is_kept_than_asked_for_and_all_stays_spent() -> None:
    ledger = MemoryLedger(entries=100)
    spend(ledger, range(1_000))
    kept = [entry.id for entry in ledger.entries()]
    assert kept == [f"call {number}" for number in range(1_000 - len(kept), 1_000)]
    assert 100 <= len(kept) <= 110
    assert sum(len(list(ledger.entries(f"s{digit}"))) for digit in range(10)) == len(kept)
    assert ledger.balances([ACCOUNT]) == (Balance(ACCOUNT, 1_000_000, spent=7_000),)
    assert ledger.forgotten == NOW + (1_000 - len(kept) - 1) / 100


def test_what_is_under_way_and_what_is_presumed_is_kept_however_much_comes_after() -> None:
    ledger = MemoryLedger(entries=100)
    for id in ("one", "two", "late"):
        reserve(ledger, id)
    ledger.presume("late", now=NOW)
    spend(ledger, range(500))
    ledger.settle("one", {"usd": 3}, now=NOW + 31)
    assert ledger.settle("late", {"usd": 4}, now=NOW + 31).late
    assert expired(ledger, NOW + 60) == ["two"]
    first = list(ledger.entries())[:3]
    assert {entry.id: entry.state for entry in first} == {
        "one": State.SETTLED,
        "two": State.PRESUMED,
        "late": State.SETTLED,
    }
    assert ledger.balances([ACCOUNT])[0].spent == 500 * 7 + 3 + 10 + 4


def test_those_that_cannot_be_forgotten_keep_no_others() -> None:
    ledger = MemoryLedger(entries=100)
    for number in range(150):
        reserve(ledger, f"call {number}")
        ledger.presume(f"call {number}", now=NOW)
    spend(ledger, range(1_000, 2_000))
    kept = [entry.state for entry in ledger.entries()]
    assert kept.count(State.PRESUMED) == 150
    assert len(kept) <= 150 * 1.1 + 1


def test_notes_do_not_pile_up_either() -> None:
    ledger = MemoryLedger(entries=100)
    for number in range(1_000):
        ledger.note("s1", {"number": number}, now=NOW)
    assert [note.body["number"] for note in ledger.notes()][-100:] == list(range(900, 1_000))
    assert len(list(ledger.notes())) <= 110


def test_all_is_kept_where_that_is_asked_for() -> None:
    ledger = MemoryLedger(entries=None)
    spend(ledger, range(300))
    assert (len(list(ledger.entries())), ledger.forgotten) == (300, 0)


class Said:
    """What is remembered of a call."""

    def to_json(self) -> dict[str, Any]:
        return {}


def test_what_was_forgotten_is_not_kept_until_its_time_to_expire() -> None:
    """Many calls within the time that each may hold: their deadlines must not keep what was said of them."""
    ledger, said = MemoryLedger(entries=100), WeakSet[Said]()
    for number in range(3 * FEWEST_DEADLINES):
        reserve(ledger, f"call {number}")
        said.add(record := Said())
        ledger.settle(f"call {number}", {"usd": 7}, now=NOW, record=record)
    del record
    reserve(ledger, "under way")
    assert len(said) <= FEWEST_DEADLINES + 110
    assert expired(ledger, NOW + 60) == ["under way"]
