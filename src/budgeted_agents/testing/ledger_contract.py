"""The tests every ledger must pass. For authors of a ledger: subclass and give the fixture.

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        def ledger(self):
            with contextlib.closing(MyLedger(...)) as ledger:
                yield ledger

Times are small numbers chosen by the tests: nothing here waits.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from budgeted_agents.errors import (
    IdempotencyConflict,
    InvalidAmount,
    ReservationClosed,
    UnknownReservation,
)
from budgeted_agents.ledgers.contract import (
    Account,
    Balance,
    Entry,
    Hold,
    Ledger,
    Refusal,
    Reservation,
    Settlement,
    State,
)
from budgeted_agents.money import MAX_AMOUNT
from budgeted_agents.testing.ledger_forgetting import Forgetting
from budgeted_agents.testing.ledger_guards import Guarding
from budgeted_agents.testing.ledger_steps import (
    SESSION,
    TENANT,
    TOKENS,
    balance,
    entry,
    expired,
    figures,
    refused,
    reserve,
)


class Granting:
    """How much a reserve gives."""

    def test_the_whole_ask_if_it_fits(self, ledger: Ledger) -> None:
        answer = reserve(ledger, "a", Hold(SESSION, 1000, 100, 500), floor=1, ask=9, now=5, ttl=7)
        assert answer == Reservation("a", 9, ((SESSION, 105),), (Balance(SESSION, 1000, 0, 105),), 12)

    def test_less_than_asked_down_to_the_last_unit(self, ledger: Ledger) -> None:
        answer = reserve(ledger, "a", Hold(SESSION, 100, 10, 3000), floor=1, ask=1000)
        assert answer.granted == 30
        assert balance(ledger).available == 0

    def test_the_tightest_account_decides(self, ledger: Ledger) -> None:
        holds = Hold(SESSION, 10_000, 0, 1000), Hold(TENANT, 77, 7, 1000), Hold(TOKENS, 500, 0, 1000)
        answer = reserve(ledger, "a", *holds, floor=1, ask=1000)
        assert answer.granted == 70
        assert answer.held == ((SESSION, 70), (TENANT, 77), (TOKENS, 70))

    @pytest.mark.parametrize(("limit", "granted"), [(10, 0), (11, 333), (12, 666), (13, 1000), (14, 1000)])
    def test_fractions_of_a_unit_are_rounded_up(self, ledger: Ledger, limit: int, granted: int) -> None:
        answer = reserve(ledger, "a", Hold(SESSION, limit, 10, 3), floor=0, ask=1000)
        assert answer.granted == granted
        assert answer.balances[0].held <= limit

    def test_the_floor_exactly_is_granted_and_one_less_is_not(self, ledger: Ledger) -> None:
        assert reserve(ledger, "a", Hold(SESSION, 30, 10, 1000), floor=20, ask=50).granted == 20
        assert refused(ledger, "b", Hold(TENANT, 29, 10, 1000), floor=20, ask=50).available == 29

    def test_without_rates_the_ask_is_granted(self, ledger: Ledger) -> None:
        assert reserve(ledger, "a", Hold(SESSION, 1, 1), floor=0, ask=4096).granted == 4096

    def test_a_call_that_no_budget_matches_is_granted_and_recorded(self, ledger: Ledger) -> None:
        assert reserve(ledger, "a", floor=1, ask=5).granted == 5
        assert ledger.settle("a", {"usd": 3}, now=2).charged == ()
        assert [e.id for e in ledger.entries()] == ["a"]

    def test_what_is_kept_for_landing_is_not_given(self, ledger: Ledger) -> None:
        answer = reserve(ledger, "a", Hold(SESSION, 100, 0, 1000, keep=30), floor=1, ask=1000)
        assert answer.granted == 70
        assert refused(ledger, "b", Hold(SESSION, 100, 1, keep=30)).available == 0
        assert reserve(ledger, "landing", Hold(SESSION, 100, 0, 1000), floor=1, ask=1000).granted == 30

    def test_shadow_accounts_are_booked_and_never_bind(self, ledger: Ledger) -> None:
        shadow = Hold(SESSION, 10, 100, 1000, enforce=False)
        assert reserve(ledger, "a", shadow, floor=1, ask=50).granted == 50
        assert balance(ledger) == Balance(SESSION, 10, 0, 150)
        assert balance(ledger).available == -140
        answer = refused(ledger, "b", shadow, Hold(TENANT, 5, 6), ask=1)
        assert answer.binding.account == TENANT

    def test_a_changed_limit_holds_from_the_next_reserve_on(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 60))
        assert refused(ledger, "b", Hold(SESSION, 50, 1)).binding == Balance(SESSION, 50, 0, 60)
        assert balance(ledger).limit == 100
        assert reserve(ledger, "c", Hold(SESSION, 70, 10)).balances == (Balance(SESSION, 70, 0, 70),)

    def test_each_window_is_an_account_of_its_own(self, ledger: Ledger) -> None:
        october, november = (Account("tenant", (), window) for window in ("2026-10", "2026-11"))
        reserve(ledger, "a", Hold(october, 10, 10))
        reserve(ledger, "b", Hold(november, 10, 10), now=2)
        ledger.settle("a", {"usd": 4}, now=3)
        assert figures(ledger, october) == (4, 0, 0)
        assert figures(ledger, november) == (0, 10, 0)

    def test_the_largest_amounts_are_exact(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, MAX_AMOUNT, MAX_AMOUNT - 1))
        reserve(ledger, "b", Hold(SESSION, MAX_AMOUNT, 1))
        assert refused(ledger, "c", Hold(SESSION, MAX_AMOUNT, 1)).available == 0
        ledger.settle("a", {"usd": MAX_AMOUNT - 1}, now=2)
        assert figures(ledger) == (MAX_AMOUNT - 1, 1, 0)
        answer = reserve(ledger, "d", Hold(TOKENS, MAX_AMOUNT, 7, 1), floor=0, ask=MAX_AMOUNT)
        assert answer.held == ((TOKENS, 7 + -(-MAX_AMOUNT // 1000)),)


class Refusing:
    """What a refusal says, and that it leaves no trace."""

    def test_it_names_the_first_account_that_binds(self, ledger: Ledger) -> None:
        holds = Hold(SESSION, 100, 10), Hold(TENANT, 5, 6, 1000), Hold(TOKENS, 1, 2)
        assert refused(ledger, "a", *holds, floor=3, ask=9) == Refusal("a", Balance(TENANT, 5), 9, 5, False)

    def test_it_writes_nothing(self, ledger: Ledger) -> None:
        refused(ledger, "a", Hold(SESSION, 100, 10), Hold(TENANT, 5, 6))
        assert list(ledger.entries()) == []
        assert ledger.accounts() == []
        assert ledger.balances([SESSION, TENANT]) == (Balance(SESSION, 0), Balance(TENANT, 0))

    def test_the_same_id_may_try_again(self, ledger: Ledger) -> None:
        refused(ledger, "a", Hold(SESSION, 5, 6))
        assert not reserve(ledger, "a", Hold(SESSION, 7, 6)).replayed

    def test_waiting_helps_if_others_hold_what_is_missing_everywhere(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 10, 8), Hold(TENANT, 10, 1))
        assert refused(ledger, "b", Hold(SESSION, 10, 3)).waiting_helps
        assert not refused(ledger, "c", Hold(SESSION, 10, 3), Hold(TENANT, 10, 11)).waiting_helps
        ledger.settle("a", {"usd": 8}, now=2)
        assert not refused(ledger, "d", Hold(SESSION, 10, 3)).waiting_helps

    def test_an_overrun_account_has_nothing_to_give_not_less(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 10, 10))
        ledger.settle("a", {"usd": 25}, now=2)
        answer = refused(ledger, "b", Hold(SESSION, 10, 1))
        assert (answer.available, answer.binding.available) == (0, -15)


class Settling:
    """What a call is charged in the end."""

    def test_the_truth_replaces_the_hold(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10, 1000), Hold(TENANT, 200, 10, 1000), ask=20)
        answer = ledger.settle("a", {"usd": 12}, now=2)
        after = Balance(SESSION, 100, 12), Balance(TENANT, 200, 12)
        assert answer == Settlement("a", State.SETTLED, ((SESSION, 12), (TENANT, 12)), after)
        assert figures(ledger) == (12, 0, 0)

    def test_units_that_are_not_named_are_charged_as_held(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), Hold(TOKENS, 100, 33))
        answer = ledger.settle("a", {"usd": 4, "loops": 9}, now=2)
        assert answer.charged == ((SESSION, 4), (TOKENS, 33))

    def test_an_overrun_is_booked_in_full_and_reported(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), Hold(TOKENS, 100, 33))
        answer = ledger.settle("a", {"usd": 250, "tokens": 33}, now=2)
        assert answer.overrun == ((SESSION, 240),)
        assert figures(ledger) == (250, 0, 0)

    def test_again_with_the_same_amount_changes_nothing(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        first = ledger.settle("a", {"usd": 250}, now=2, record={"n": 1})
        assert ledger.settle("a", {"usd": 250}, now=9, record={"n": 2}) == replace(first, replayed=True)
        assert figures(ledger) == (250, 0, 0)
        assert entry(ledger, "a").record == {"n": 1}

    def test_again_with_another_amount_is_a_conflict(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        ledger.settle("a", {"usd": 5}, now=2)
        with pytest.raises(IdempotencyConflict, match="'a'"):
            ledger.settle("a", {"usd": 6}, now=2)
        assert figures(ledger) == (5, 0, 0)

    def test_unknown_and_released_ids_are_refused(self, ledger: Ledger) -> None:
        with pytest.raises(UnknownReservation, match="'nobody'"):
            ledger.settle("nobody", {"usd": 5}, now=2)
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        ledger.release("a", now=2)
        with pytest.raises(ReservationClosed, match="'a'"):
            ledger.settle("a", {"usd": 5}, now=2)

    def test_more_than_a_ledger_can_keep_is_refused_and_the_hold_stands(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        reserve(ledger, "b", Hold(SESSION, 100, 10))
        with pytest.raises(InvalidAmount):
            ledger.settle("a", {"usd": MAX_AMOUNT}, now=2)
        assert figures(ledger) == (0, 20, 0)

    def test_after_its_deadline_but_before_any_expiry_it_is_not_late(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), ttl=1)
        assert not ledger.settle("a", {"usd": 5}, now=100).late


class Releasing:
    """Giving a hold back."""

    def test_everything_is_given_back(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), Hold(TENANT, 50, 10))
        answer = ledger.release("a", now=2, record={"why": "429"})
        after = Balance(SESSION, 100), Balance(TENANT, 50)
        assert answer == Settlement("a", State.RELEASED, ((SESSION, 0), (TENANT, 0)), after)
        assert entry(ledger, "a").record == {"why": "429"}
        assert entry(ledger, "a").charged == ()

    def test_again_changes_nothing(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        first = ledger.release("a", now=2)
        assert first is not None
        assert ledger.release("a", now=3) == replace(first, replayed=True)

    def test_settled_ids_are_refused(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        ledger.settle("a", {"usd": 5}, now=2)
        with pytest.raises(ReservationClosed, match="'a'"):
            ledger.release("a", now=2)
        assert figures(ledger) == (5, 0, 0)

    def test_before_its_reserve_it_leaves_a_tombstone(self, ledger: Ledger) -> None:
        assert ledger.release("a", now=1) is None
        assert ledger.release("a", now=2) is None
        for verb in (
            lambda: reserve(ledger, "a", Hold(SESSION, 100, 10)),
            lambda: ledger.settle("a", {"usd": 1}, now=2),
            lambda: ledger.presume("a", now=2),
        ):
            with pytest.raises(ReservationClosed, match="'a'"):
                verb()
        assert not ledger.extend("a", ttl=5, now=2)
        assert list(ledger.entries()) == []
        assert balance(ledger) == Balance(SESSION, 0)

    def test_a_presumption_is_undone(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        ledger.expire(100)
        answer = ledger.release("a", now=101)
        assert answer == Settlement("a", State.RELEASED, ((SESSION, -10),), (Balance(SESSION, 100),), late=True)
        assert figures(ledger) == (0, 0, 0)


class Expiring:
    """What becomes of a reservation nobody ends."""

    def test_it_is_charged_at_its_worst_case(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), now=1, ttl=10)
        assert expired(ledger, 10.999) == []
        assert expired(ledger, 11) == ["a"]
        assert expired(ledger, 12) == []
        assert figures(ledger) == (10, 0, 10)
        assert entry(ledger, "a").closed_at == 11

    def test_a_late_settle_puts_the_truth(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), Hold(TOKENS, 100, 50))
        ledger.expire(100)
        answer = ledger.settle("a", {"usd": 3, "tokens": 60}, now=101)
        after = Balance(SESSION, 100, 3), Balance(TOKENS, 100, 60)
        moved, overrun = ((SESSION, -7), (TOKENS, 10)), ((TOKENS, 10),)
        assert answer == Settlement("a", State.SETTLED, moved, after, overrun, late=True)
        assert ledger.settle("a", {"usd": 3, "tokens": 60}, now=102) == replace(answer, replayed=True)
        assert figures(ledger) == (3, 0, 0)

    def test_the_longest_overdue_come_first_and_never_more_than_asked(self, ledger: Ledger) -> None:
        for id, ttl in (("a", 30), ("b", 10), ("c", 20), ("d", 10)):
            reserve(ledger, id, Hold(SESSION, 100, 1), now=1, ttl=ttl)
        assert expired(ledger, 100, limit=3) == ["b", "d", "c"]
        assert expired(ledger, 100, limit=3) == ["a"]

    def test_extending_moves_the_deadline_and_never_back(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), now=1, ttl=10)
        assert ledger.extend("a", ttl=20, now=5)
        assert ledger.extend("a", ttl=1, now=6)
        assert entry(ledger, "a").deadline == 25
        assert expired(ledger, 24) == []
        assert expired(ledger, 25) == ["a"]
        assert not ledger.extend("a", ttl=20, now=26)
        assert not ledger.extend("nobody", ttl=20, now=26)

    def test_a_reserve_presumes_a_bounded_number_of_overdue_ones(self, ledger: Ledger) -> None:
        for number in range(20):
            reserve(ledger, f"old{number}", Hold(SESSION, 100, 1), now=1, ttl=1)
        reserve(ledger, "new", Hold(TENANT, 100, 1), now=50)
        assert figures(ledger) == (16, 4, 16)
        refused(ledger, "no", Hold(TENANT, 0, 1), now=51)
        assert figures(ledger) == (20, 0, 20)

    def test_a_reserve_says_what_it_presumed(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10), now=1, ttl=1)
        first = reserve(ledger, "new", Hold(TENANT, 100, 1), now=50)
        presumed = Settlement("a", State.PRESUMED, ((SESSION, 10),), (Balance(SESSION, 100, 10, presumed=10),))
        assert first.presumed == (presumed,)
        assert reserve(ledger, "new", Hold(TENANT, 100, 1), now=50).presumed == ()
        reserve(ledger, "b", Hold(SESSION, 100, 10), now=1, ttl=1)
        refusal = refused(ledger, "no", Hold(TENANT, 0, 1), now=51)
        assert [settlement.id for settlement in refusal.presumed] == ["b"]

    def test_presuming_one_at_once(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        answer = ledger.presume("a", now=2, record={"why": "time-out"})
        assert answer == Settlement("a", State.PRESUMED, ((SESSION, 10),), (Balance(SESSION, 100, 10, presumed=10),))
        assert ledger.presume("a", now=3) == replace(answer, replayed=True)
        assert entry(ledger, "a").record == {"why": "time-out"}
        assert ledger.settle("a", {"usd": 4}, now=4).late
        assert figures(ledger) == (4, 0, 0)
        with pytest.raises(ReservationClosed, match="'a'"):
            ledger.presume("a", now=5)
        with pytest.raises(UnknownReservation, match="'nobody'"):
            ledger.presume("nobody", now=5)


class Repeating:
    """The same id again."""

    def test_the_same_reserve_gets_the_same_answer(self, ledger: Ledger) -> None:
        hold = Hold(SESSION, 100, 10, 1000)
        first = reserve(ledger, "a", hold, floor=1, ask=20, session="s1")
        again = reserve(ledger, "a", hold, floor=1, ask=20, session="s1", now=3, ttl=99)
        assert again == replace(first, replayed=True)
        assert figures(ledger) == (0, 30, 0)
        ledger.settle("a", {"usd": 25}, now=4)
        settled = reserve(ledger, "a", hold, floor=1, ask=20, session="s1")
        assert (settled.granted, settled.balances) == (20, (Balance(SESSION, 100, 25),))

    @pytest.mark.parametrize(
        "other",
        [
            {"holds": [Hold(SESSION, 100, 11, 1000)]},
            {"holds": [Hold(SESSION, 101, 10, 1000)]},
            {"holds": [Hold(TENANT, 100, 10, 1000)]},
            {"holds": [Hold(SESSION, 100, 10, 1001)]},
            {"holds": [Hold(SESSION, 100, 10, 1000, keep=1)]},
            {"holds": [Hold(SESSION, 100, 10, 1000, enforce=False)]},
            {"holds": []},
            {"floor": 2},
            {"ask": 21},
            {"session": "s2"},
        ],
        ids=str,
    )
    def test_another_body_is_a_conflict(self, ledger: Ledger, other: dict[str, Any]) -> None:
        body: dict[str, Any] = {"holds": [Hold(SESSION, 100, 10, 1000)], "floor": 1, "ask": 20, "session": "s1"}
        ledger.reserve("a", **body, now=1, ttl=10)
        with pytest.raises(IdempotencyConflict, match="'a'"):
            ledger.reserve("a", **{**body, **other}, now=1, ttl=10)
        assert figures(ledger) == (0, 30, 0)

    def test_a_released_id_cannot_hold_again(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 100, 10))
        ledger.release("a", now=2)
        with pytest.raises(ReservationClosed, match="'a'"):
            reserve(ledger, "a", Hold(SESSION, 100, 10))


class Crediting:
    """Topping up."""

    def test_it_raises_the_limit_for_good(self, ledger: Ledger) -> None:
        reserve(ledger, "a", Hold(SESSION, 10, 10))
        assert ledger.credit("c", SESSION, 5, limit=10, now=2) == Balance(SESSION, 15, 0, 10, 5)
        assert reserve(ledger, "b", Hold(SESSION, 10, 5)).balances == (Balance(SESSION, 15, 0, 15, 5),)
        assert reserve(ledger, "d", Hold(SESSION, 20, 10)).balances == (Balance(SESSION, 25, 0, 25, 5),)

    def test_a_new_account_begins_with_the_limit_given(self, ledger: Ledger) -> None:
        assert ledger.credit("c", SESSION, 5, limit=10, now=2) == Balance(SESSION, 15, credit=5)
        assert ledger.accounts() == [SESSION]

    def test_each_id_counts_once(self, ledger: Ledger) -> None:
        ledger.credit("c", SESSION, 5, limit=10, now=2)
        assert ledger.credit("c", SESSION, 5, limit=10, now=3).limit == 15
        for account, amount in ((SESSION, 6), (TENANT, 5)):
            with pytest.raises(IdempotencyConflict, match="'c'"):
                ledger.credit("c", account, amount, limit=10, now=3)
        assert balance(ledger).limit == 15

    def test_a_limit_beyond_what_a_ledger_can_keep_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(InvalidAmount):
            ledger.credit("c", SESSION, 1, limit=MAX_AMOUNT, now=2)
        assert ledger.accounts() == []


class Remembering:
    """What reports read."""

    def test_entries_come_in_the_order_they_were_made(self, ledger: Ledger) -> None:
        memo = {"model": "gpt", "n": [1, None, True, 1.5, {"ü": "😀"}]}
        reserve(ledger, "b", Hold(SESSION, 100, 10), ask=7, session="s1", memo=MappingProxyType(memo))
        reserve(ledger, "a", Hold(SESSION, 100, 20), session="s2", now=2)
        ledger.settle("b", {"usd": 8}, now=3, record={"cost": "0.08"})
        held, charged = ((SESSION.key, 10),), ((SESSION.key, 8),)
        first = Entry("b", "s1", State.SETTLED, 7, 1, 11, 3, held, charged, memo, {"cost": "0.08"})
        second = Entry("a", "s2", State.RESERVED, 0, 2, 12, None, ((SESSION.key, 20),), ())
        assert list(ledger.entries()) == [first, second]
        assert list(ledger.entries("s2")) == [second]
        assert list(ledger.entries("s3")) == []

    def test_long_histories_are_read_to_the_end(self, ledger: Ledger) -> None:
        ids = [f"id{number}" for number in range(1203)]
        for id in ids:
            reserve(ledger, id, Hold(SESSION, 10_000, 1), session="odd" if int(id[2:]) % 2 else "even")
        assert [e.id for e in ledger.entries()] == ids
        assert [e.id for e in ledger.entries("odd")] == ids[1::2]

    def test_a_memo_is_a_snapshot(self, ledger: Ledger) -> None:
        memo = {"tags": ["a"]}
        reserve(ledger, "a", Hold(SESSION, 100, 10), memo=memo)
        memo["tags"].append("b")
        assert entry(ledger, "a").memo == {"tags": ["a"]}

    def test_notes_come_in_order_and_by_session(self, ledger: Ledger) -> None:
        ledger.note("s1", {"kind": "alert"}, now=3)
        ledger.note("s2", {"kind": "landing"}, now=1)
        ledger.note("s1", {"kind": "refusal"}, now=2)
        assert [(n.session, n.at, n.body["kind"]) for n in ledger.notes()] == [
            ("s1", 3, "alert"),
            ("s2", 1, "landing"),
            ("s1", 2, "refusal"),
        ]
        assert [n.body["kind"] for n in ledger.notes("s1")] == ["alert", "refusal"]

    def test_accounts_come_back_as_they_were(self, ledger: Ledger) -> None:
        odd = [
            Account("a|b", (("x=1,y", "2"),), "w|", "usd"),
            Account("a", (("b|x", "1"), ("y", "2")), "w", "tool_calls:se arch"),
            Account("", (("", ""),), "", ""),
            Account("%7C", (("tenant", "a}{b:c"),)),
            Account("Ä€😀\n\0"),
        ]
        reserve(ledger, "a", *(Hold(account, 10, 1) for account in odd))
        assert ledger.accounts() == odd
        assert [b.account for b in ledger.balances(odd)] == odd
        assert all(b.held == 1 for b in ledger.balances(odd))

    def test_many_balances_at_once(self, ledger: Ledger) -> None:
        accounts = [Account("tenant", (("tenant", str(number)),)) for number in range(1200)]
        reserve(ledger, "a", Hold(accounts[1100], 10, 3))
        found = ledger.balances(accounts)
        assert [b.account for b in found] == accounts
        assert [b.held for b in found if b.held] == [3]
        assert ledger.balances([]) == ()


class LedgerContract(
    Granting, Refusing, Settling, Releasing, Expiring, Repeating, Crediting, Remembering, Forgetting, Guarding
):
    """All of them. A subclass gives a fixture ``ledger``: a new, empty ledger for each test."""
