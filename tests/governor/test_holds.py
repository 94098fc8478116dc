"""From budgets and a call to what must be held in which accounts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.governor import Quote
from budgeted_agents.governor.holds import kept_for_landing
from budgeted_agents.governor.plan import model_plan, tool_plan
from budgeted_agents.ledgers.contract import Account, Hold
from budgeted_agents.money import MAX_AMOUNT

NOON = datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC).timestamp()
WHO = {"session": "s1", "tenant": "acme"}
QUOTE = Quote(0, "gpt-4o", "premium", 1_200, 1_000, 3_000_000, 10_000_000, 4_000)
MINI = Quote(1, "gpt-4o-mini", None, 1_200, 1_000, 180_000, 600_000, 4_000)
SESSION = (("session", "s1"),)


def holds(*budgets: Budget, quote: Quote = QUOTE, landing: frozenset[str] = frozenset()) -> tuple[Hold, ...]:
    return model_plan(Policy(budgets, {"premium": ("gpt-4o",)}), WHO, quote, now=NOON, landing=landing).holds(quote)


def test_one_hold_for_each_limit_of_a_budget() -> None:
    budget = Budget(usd="1.00", tokens=50_000, model_calls=10, requests_per_minute=60, loops=3, tool_calls=4)
    assert holds(budget) == (
        Hold(Account("session", SESSION, "", "usd"), 10**9, 3_000_000, 10_000_000, keep=30_000_000),
        Hold(Account("session", SESSION, "", "tokens"), 50_000, 1_200, 1_000, keep=1_500),
        Hold(Account("session", SESSION, "", "model_calls"), 10, 1, 0, keep=1),
        Hold(Account("session", SESSION, "m:2026-11-22T12:30Z", "requests"), 60, 1, 0, keep=0),
    )


def test_a_call_that_spares_leaves_room_for_another_like_it() -> None:
    budget = Budget(usd="1.00", tokens=50_000, model_calls=10, requests_per_minute=60)
    spared = model_plan(Policy((budget,)), WHO, QUOTE, now=NOON).holds(QUOTE, 100)
    needed = {"usd": 3_000_000 + 1_000_000, "tokens": 1_200 + 100, "model_calls": 1, "requests": 1}
    for plain, hold in zip(holds(budget), spared, strict=True):
        assert hold.keep == plain.keep + needed[hold.account.unit]
        assert (hold.account, hold.base, hold.rate) == (plain.account, plain.base, plain.rate)


def test_requests_are_counted_by_the_minute_whatever_the_budgets_window() -> None:
    budget = Budget(per="tenant", window="month", timezone="Asia/Tokyo", usd=5, requests_per_minute=60)
    money, requests = holds(budget)
    assert money.account.window == "m:2026-11@Asia/Tokyo"
    assert requests.account.window == "m:2026-11-22T12:30Z"
    later = model_plan(Policy((budget,)), WHO, QUOTE, now=NOON + 60).holds(QUOTE)
    assert later[0].account == money.account
    assert later[1].account.window == "m:2026-11-22T12:31Z"


def test_every_matching_budget_is_charged_in_its_own_account() -> None:
    found = holds(
        Budget(usd=1),
        Budget(name="tenant-day", per=("tenant", "feature"), window="day", usd=100),
        Budget(name="all", per=(), usd=1000),
        Budget(name="other", per=(), where={"tenant": ("globex",)}, usd=1),
    )
    assert [hold.account for hold in found] == [
        Account("session", SESSION),
        Account("tenant-day", (("tenant", "acme"), ("feature", "-")), "d:2026-11-22"),
        Account("all"),
    ]
    assert [hold.keep for hold in found] == [30_000_000, 0, 0]


def test_a_budget_for_a_model_class_governs_the_tiers_of_that_class_only() -> None:
    premium = Budget(name="premium", per="tenant", where={"model_class": "premium"}, usd=1)
    mini = Budget(name="mini", per="tenant", where={"model": ("gpt-4o-mini", "other")}, usd=1)
    both = Budget(name="both", per="tenant", where={"model_class": "premium", "tenant": "globex"}, usd=1)
    assert [hold.account.budget for hold in holds(premium, mini, both)] == ["premium"]
    assert [hold.account.budget for hold in holds(premium, mini, both, quote=MINI)] == ["mini"]


@pytest.mark.parametrize(
    ("called", "named", "is_bound"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("gpt-4o", "openai/gpt-4o", True),
        ("openrouter/openai/gpt-4o", "openai/gpt-4o", True),
        ("azure/gpt-4o", "openai/gpt-4o", False),
        ("gpt-4o-mini", "gpt-4o", False),
        ("openai/gpt-4o", "4o", False),
        ("gpt-4o", "openai/", False),
    ],
)
def test_a_model_is_meant_by_its_name_with_or_without_its_provider(called: str, named: str, is_bound: bool) -> None:
    budget = Budget(model_calls=1, where={"model": ("other", named)})
    assert bool(holds(budget, quote=Quote(0, called, None, 1, 1, 1, 1, 1))) is is_bound


def test_an_account_may_be_kept_per_model() -> None:
    budget = Budget(per=("model", "model_class"), usd=1)
    (first,), (second,) = holds(budget), holds(budget, quote=MINI)
    assert first.account.scope == (("model", "gpt-4o"), ("model_class", "premium"))
    assert second.account.scope == (("model", "gpt-4o-mini"), ("model_class", "-"))


def test_a_shadow_budget_is_booked_and_does_not_bind() -> None:
    (hold,) = holds(Budget(usd=1, mode="shadow"))
    assert not hold.enforce


def test_only_the_finalizer_of_a_budget_may_spend_its_landing_reserve() -> None:
    budgets = (Budget(usd=1), Budget(name="run", per="run", usd=1))
    assert [hold.keep for hold in holds(*budgets, landing=frozenset({"run"}))] == [30_000_000, 0]


@pytest.mark.parametrize(
    ("share", "unit", "limit", "kept"),
    [
        (0.03, "usd", 10**9, 30_000_000),
        (0.03, "usd", 1, 1),
        (0.03, "tokens", 101, 4),
        (0.1, "usd", MAX_AMOUNT, -(-MAX_AMOUNT // 10)),
        (0.3, "usd", MAX_AMOUNT, -(-MAX_AMOUNT * 3 // 10)),
        (0.0, "usd", 10**9, 0),
        (0.5, "model_calls", 10, 1),
        (0.03, "model_calls", 1, 0),
        (0.5, "requests", 10, 0),
    ],
)
def test_the_landing_reserve_is_a_share_rounded_up(share: float, unit: str, limit: int, kept: int) -> None:
    assert kept_for_landing(Budget(usd=1, landing_reserve=share), unit, limit) == kept


@given(st.integers(0, 999_999), st.integers(1, MAX_AMOUNT))
def test_the_landing_reserve_is_exact_at_any_size(millionths: int, limit: int) -> None:
    kept = kept_for_landing(Budget(usd=1, landing_reserve=millionths / 1_000_000), "usd", limit)
    assert 0 <= kept * 1_000_000 - millionths * limit < 1_000_000


def test_a_tool_call_is_counted_by_name_and_for_all_tools_together() -> None:
    policy = Policy(
        (
            Budget(tool_calls={"search": 2, "*": 5}),
            Budget(name="tenant", per="tenant", tool_calls={"read": 1}, mode="shadow"),
            Budget(name="search-only", per=(), where={"tool": "search"}, tool_calls=3),
        )
    )
    assert tool_plan(policy, WHO, "search", now=NOON).terms == (
        Hold(Account("session", SESSION, "", "tool_calls:search"), 2, 1),
        Hold(Account("session", SESSION, "", "tool_calls"), 5, 1),
        Hold(Account("search-only", (), "", "tool_calls"), 3, 1),
    )
    assert tool_plan(policy, WHO, "read", now=NOON).terms == (
        Hold(Account("session", SESSION, "", "tool_calls"), 5, 1),
        Hold(Account("tenant", (("tenant", "acme"),), "", "tool_calls:read"), 1, 1, enforce=False),
    )
    assert tool_plan(Policy((Budget(usd=1),)), WHO, "search", now=NOON).terms == ()
