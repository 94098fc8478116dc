"""The part of the ledger contract that says what a ledger may let go of, so that it does not grow forever."""

from __future__ import annotations

import math
from typing import Any

import pytest

from budgeted_agents.errors import InvalidAmount, InvalidReservation, UnknownReservation
from budgeted_agents.ledgers.contract import Hold, Ledger
from budgeted_agents.testing.ledger_steps import SESSION, balance, reserve

USED = Hold(SESSION, 1_000, 10)


def ended(ledger: Ledger, id: str, at: float, usd: int = 7) -> None:
    """A call of a session that has ended."""
    reserve(ledger, id, USED, session="s1", now=at)
    ledger.settle(id, {"usd": usd}, now=at)


def left(ledger: Ledger, session: str | None = None) -> list[str]:
    return [entry.id for entry in ledger.entries(session)]


class Forgetting:
    """What ended long ago goes; what it cost stays."""

    def test_what_ended_before_goes_and_stays_spent(self, ledger: Ledger) -> None:
        for number in range(4):
            ended(ledger, f"c{number}", at=10 + number)
        reserve(ledger, "given back", USED, now=1)
        ledger.release("given back", now=2)
        before = balance(ledger)
        assert ledger.forgotten == 0
        assert ledger.forget(12) == 3
        assert left(ledger) == left(ledger, "s1") == ["c2", "c3"]
        assert (balance(ledger), ledger.forgotten) == (before, 12)
        assert ledger.forget(12) == 0

    def test_what_may_still_change_stays(self, ledger: Ledger) -> None:
        for id in ("in flight", "presumed", "expired"):
            reserve(ledger, id, USED, now=1, ttl=100 if id == "in flight" else 10)
        ledger.presume("presumed", now=2)
        ledger.expire(50)
        assert ledger.forget(90) == 0
        assert ledger.settle("presumed", {"usd": 4}, now=91).late
        assert ledger.settle("in flight", {"usd": 5}, now=92).charged == ((SESSION, 5),)
        assert ledger.forget(100) == 2
        assert left(ledger) == ["expired"]
        assert balance(ledger).spent == 4 + 5 + 10

    def test_the_oldest_go_first_and_no_more_than_asked(self, ledger: Ledger) -> None:
        for number in range(5):
            ended(ledger, f"c{number}", at=number)
        assert [ledger.forget(90, limit=2) for _ in range(4)] == [2, 2, 1, 0]

    def test_notes_from_before_go_and_top_ups_stay(self, ledger: Ledger) -> None:
        ledger.credit("up", SESSION, 50, limit=100, now=1)
        for at in (3, 8):
            ledger.note("s1", {"kind": "refusal"}, now=at)
        ledger.forget(5)
        assert [note.at for note in ledger.notes()] == [8]
        assert ledger.credit("up", SESSION, 50, limit=100, now=9).limit == 150

    def test_an_id_that_is_forgotten_counts_as_new(self, ledger: Ledger) -> None:
        ended(ledger, "a", at=1)
        ledger.release("never reserved", now=1)
        assert ledger.forget(5) == 2
        with pytest.raises(UnknownReservation):
            ledger.settle("a", {"usd": 7}, now=6)
        ended(ledger, "a", at=7, usd=8)
        assert balance(ledger).spent == 7 + 8

    def test_to_forget_less_than_before_changes_nothing(self, ledger: Ledger) -> None:
        ledger.forget(9)
        ledger.forget(4)
        assert ledger.forgotten == 9

    @pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, None, "1", True])
    def test_a_time_of_the_wrong_shape_is_refused(self, ledger: Ledger, bad: Any) -> None:
        ended(ledger, "a", at=1)
        with pytest.raises(InvalidReservation):
            ledger.forget(bad)
        with pytest.raises(InvalidAmount):
            ledger.forget(5, limit=-1)
        assert (left(ledger), ledger.forgotten) == (["a"], 0)
