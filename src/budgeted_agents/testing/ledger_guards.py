"""The part of the ledger contract that says what is refused at the door, with nothing changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from budgeted_agents.errors import InvalidAmount, InvalidReservation, LedgerUnavailable
from budgeted_agents.ledgers.contract import Account, Hold, Ledger
from budgeted_agents.money import MAX_AMOUNT
from budgeted_agents.testing.ledger_steps import SESSION, TENANT, figures, reserve

BAD_AMOUNTS = [-1, 2**63, 10**400, 1.0, math.nan, math.inf, True, None, "5", b"5"]
BAD_TIMES = [-1.0, math.nan, math.inf, 1.7e12, None, "1", True]


class Guarding:
    """What is refused at the door, with nothing changed."""

    def unchanged(self, ledger: Ledger) -> None:
        assert list(ledger.entries()) == []
        assert list(ledger.notes()) == []
        assert ledger.accounts() == []

    @pytest.mark.parametrize("bad", BAD_AMOUNTS, ids=repr)
    @pytest.mark.parametrize("field", ["limit", "base", "rate", "keep"])
    def test_amounts_of_a_hold(self, ledger: Ledger, field: str, bad: Any) -> None:
        hold = Hold(SESSION, **{"limit": 10, "base": 1, field: bad})
        with pytest.raises(InvalidAmount) as caught:
            reserve(ledger, "a", Hold(TENANT, 10, 1), hold, ask=1)
        assert caught.value.field == field
        assert "'a'" in caught.value.place
        self.unchanged(ledger)

    @pytest.mark.parametrize("bad", BAD_AMOUNTS, ids=repr)
    def test_floor_ask_actual_and_credit(self, ledger: Ledger, bad: Any) -> None:
        for steps in ({"floor": bad, "ask": 10}, {"floor": 0, "ask": bad}):
            with pytest.raises(InvalidAmount):
                ledger.reserve("a", [Hold(SESSION, 10, 1)], now=1, ttl=1, **steps)
        with pytest.raises(InvalidAmount):
            ledger.settle("a", {"usd": bad}, now=1)
        for amounts in ({"amount": bad, "limit": 1}, {"amount": 1, "limit": bad}):
            with pytest.raises(InvalidAmount):
                ledger.credit("a", SESSION, now=1, **amounts)
        self.unchanged(ledger)

    def test_amounts_that_contradict_one_another(self, ledger: Ledger) -> None:
        with pytest.raises(InvalidAmount, match="below the floor"):
            reserve(ledger, "a", Hold(SESSION, 10, 1), floor=5, ask=4)
        with pytest.raises(InvalidAmount, match="more than a ledger can keep"):
            reserve(ledger, "a", Hold(SESSION, 10, 1, MAX_AMOUNT), floor=1001, ask=2000)
        with pytest.raises(InvalidAmount, match="not a mapping"):
            ledger.settle("a", 5, now=1)  # type: ignore[arg-type]
        self.unchanged(ledger)

    def test_a_shadow_account_that_is_full_to_the_brim(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 1, MAX_AMOUNT, enforce=False))
        with pytest.raises(InvalidAmount):
            reserve(ledger, "b", Hold(SESSION, 1, 1, enforce=False), now=100)
        assert figures(ledger) == (MAX_AMOUNT, 0, MAX_AMOUNT)

    @pytest.mark.parametrize("bad", BAD_TIMES, ids=repr)
    def test_times(self, ledger: Ledger, bad: Any) -> None:
        for times in ({"now": bad, "ttl": 1}, {"now": 1, "ttl": bad}, {"now": 1, "ttl": 0}):
            with pytest.raises(InvalidReservation):
                ledger.reserve("a", [Hold(SESSION, 10, 1)], floor=0, ask=0, **times)
            with pytest.raises(InvalidReservation):
                ledger.extend("a", **times)
        for verb in (
            lambda: ledger.settle("a", {}, now=bad),
            lambda: ledger.release("a", now=bad),
            lambda: ledger.presume("a", now=bad),
            lambda: ledger.expire(bad),
            lambda: ledger.note("s", {}, now=bad),
            lambda: ledger.credit("c", SESSION, 1, limit=1, now=bad),
        ):
            with pytest.raises(InvalidReservation):
                verb()
        self.unchanged(ledger)

    @pytest.mark.parametrize("bad", ["", "x" * 201, "\ud800", None, 7, b"id"], ids=repr)
    def test_ids(self, ledger: Ledger, bad: Any) -> None:
        for verb in (
            lambda: reserve(ledger, bad, Hold(SESSION, 10, 1)),
            lambda: ledger.settle(bad, {"usd": 1}, now=1),
            lambda: ledger.release(bad, now=1),
            lambda: ledger.presume(bad, now=1),
            lambda: ledger.extend(bad, ttl=1, now=1),
            lambda: ledger.credit(bad, SESSION, 1, limit=1, now=1),
        ):
            with pytest.raises(InvalidReservation) as caught:
                verb()
            assert caught.value.field == "id"
        self.unchanged(ledger)

    @pytest.mark.parametrize(
        "bad",
        [Account("\ud800"), Account("x" * 3000), Account(None), Account("a", (("t", 5),)), "session", None],  # type: ignore[arg-type]
        ids=["surrogate", "long", "none", "number", "text", "nothing"],
    )
    def test_accounts(self, ledger: Ledger, bad: Any) -> None:
        for verb in (
            lambda: reserve(ledger, "a", Hold(bad, 10, 1)),
            lambda: ledger.credit("c", bad, 1, limit=1, now=1),
            lambda: ledger.balances([bad]),
        ):
            with pytest.raises(InvalidReservation) as caught:
                verb()
            assert caught.value.field == "account"
        self.unchanged(ledger)

    def test_one_account_twice_in_one_reserve(self, ledger: Ledger) -> None:
        same = Account("session", (("session", "s1"),))
        with pytest.raises(InvalidReservation, match="comes twice"):
            reserve(ledger, "a", Hold(SESSION, 10, 1), Hold(TENANT, 10, 1), Hold(same, 10, 1))
        self.unchanged(ledger)

    def test_what_is_no_hold_and_no_session(self, ledger: Ledger) -> None:
        with pytest.raises(InvalidReservation):
            reserve(ledger, "a", (SESSION, 10, 1))  # type: ignore[arg-type]
        for bad in (None, 5, "\ud800"):
            with pytest.raises(InvalidReservation):
                reserve(ledger, "a", Hold(SESSION, 10, 1), session=bad)
            with pytest.raises(InvalidReservation):
                ledger.note(bad, {}, now=1)  # type: ignore[arg-type]
        self.unchanged(ledger)

    @pytest.mark.parametrize(
        "bad",
        [{"x": math.nan}, {"x": object()}, {"x": {1, 2}}, [1], "text", {(1, 2): 3}],
        ids=["nan", "object", "set", "list", "text", "key"],
    )
    def test_memos(self, ledger: Ledger, bad: Any) -> None:
        for verb in (
            lambda: reserve(ledger, "a", Hold(SESSION, 10, 1), memo=bad),
            lambda: ledger.settle("a", {"usd": 1}, now=1, record=bad),
            lambda: ledger.release("a", now=1, record=bad),
            lambda: ledger.presume("a", now=1, record=bad),
            lambda: ledger.note("s", bad, now=1),
            lambda: ledger.credit("c", SESSION, 1, limit=1, now=1, memo=bad),
        ):
            with pytest.raises(InvalidReservation):
                verb()
        self.unchanged(ledger)

    def test_a_closed_ledger_admits_nothing(self, ledger: Ledger) -> None:
        ledger.close()
        ledger.close()
        verbs: Sequence[Any] = (
            lambda: reserve(ledger, "a", Hold(SESSION, 10, 1)),
            lambda: ledger.settle("a", {}, now=1),
            lambda: ledger.release("a", now=1),
            lambda: ledger.presume("a", now=1),
            lambda: ledger.extend("a", ttl=1, now=1),
            lambda: ledger.expire(1),
            lambda: ledger.balances([SESSION]),
            ledger.accounts,
            lambda: ledger.credit("a", SESSION, 1, limit=1, now=1),
            lambda: ledger.note("s", {}, now=1),
            lambda: list(ledger.entries()),
            lambda: list(ledger.notes()),
        )
        for verb in verbs:
            with pytest.raises(LedgerUnavailable):
                verb()
