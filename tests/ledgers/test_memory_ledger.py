"""What only a ledger in memory does: let go of what is settled."""

from __future__ import annotations

from budgeted_agents.ledgers import Account, Balance, Hold, MemoryLedger, Reservation, State

NOW = 1_800_000_000.0
ACCOUNT = Account("session")


def reserve(ledger: MemoryLedger, id: str, now: float = NOW) -> None:
    answer = ledger.reserve(id, [Hold(ACCOUNT, 1_000, 10)], floor=0, ask=0, now=now, ttl=60, session="s1")
    assert isinstance(answer, Reservation)


def test_what_is_settled_is_forgotten_and_stays_spent() -> None:
    ledger = MemoryLedger()
    for id in ("settled", "released", "presumed", "open"):
        reserve(ledger, id)
    ledger.note("s1", {"kind": "refusal"}, now=NOW)
    ledger.settle("settled", {"usd": 7}, now=NOW)
    ledger.release("released", now=NOW)
    ledger.presume("presumed", now=NOW)
    ledger.forget()
    assert (
        [entry.id for entry in ledger.entries()] == [entry.id for entry in ledger.entries("s1")] == ["presumed", "open"]
    )
    assert list(ledger.notes()) == []
    assert ledger.balances([ACCOUNT]) == (Balance(ACCOUNT, 1_000, spent=17, held=10, presumed=10),)


def test_what_is_under_way_ends_as_ever() -> None:
    ledger = MemoryLedger()
    for id in ("one", "two", "late"):
        reserve(ledger, id)
    ledger.presume("late", now=NOW)
    ledger.forget()
    reserve(ledger, "three", NOW + 30)
    ledger.settle("one", {"usd": 3}, now=NOW + 31)
    assert ledger.settle("late", {"usd": 4}, now=NOW + 31).late
    assert ledger.expire(NOW + 60) == ["two"]
    assert {entry.id: entry.state for entry in ledger.entries()} == {
        "two": State.PRESUMED,
        "late": State.SETTLED,
        "one": State.SETTLED,
        "three": State.RESERVED,
    }
    assert ledger.balances([ACCOUNT]) == (Balance(ACCOUNT, 1_000, spent=17, held=10, presumed=10),)
