"""A budget is right, or refused with an error that names the field, the value, the place and the remedy."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.budget import Budget
from budgeted_agents.errors import InvalidBudget
from budgeted_agents.money import MAX_AMOUNT

AMOUNT = 'Give a non-negative amount of USD, e.g. "1.50" or Decimal("0.02")'
ABOVE_ZERO = "Give a number above zero"
WHOLE = "Give a whole number"
NAMED = "Use one of the values named"
SHARE = "Give a share of the limit between 0 and 1, e.g. 0.8"
NUMBER = "Give a number, e.g. 0.5"
NOT_NEGATIVE = "Give a number that is not negative"
NAME = "Use at most 100 printable characters, none of them a space at an end"
CONTEXT = "Say from how many input tokens on, e.g. context_tokens=16_000"
ZONE = 'Use an IANA name, e.g. "Europe/Paris"'
SEVERAL = 'Give a name, or several, e.g. ("tenant", "feature")'
IN_ORDER = 'Give them in an order, e.g. ("tenant", "user"), the same one wherever the ledger is used'
ALERT_FIRST = "Alert first, then downgrade: give a downgrade_at that is not below alert_at"
TO_MATCH = 'Name the values to match, e.g. {"model_class": ("premium",)}'

BAD: list[tuple[dict[str, Any], str, object, str]] = [
    # fields, the field that is named, the value, the remedy
    ({"usd": -1}, "usd", -1, AMOUNT),
    ({"usd": "-0.01"}, "usd", "-0.01", AMOUNT),
    ({"usd": "NaN"}, "usd", "NaN", AMOUNT),
    ({"usd": float("inf")}, "usd", float("inf"), AMOUNT),
    ({"usd": "a dollar"}, "usd", "a dollar", AMOUNT),
    ({"usd": "$1"}, "usd", "$1", AMOUNT),
    ({"usd": True}, "usd", True, AMOUNT),
    ({"usd": [1]}, "usd", [1], AMOUNT),
    ({"usd": "1e400"}, "usd", "1e400", AMOUNT),
    ({"usd": 10**10}, "usd", 10**10, AMOUNT),
    ({"usd": 0}, "usd", 0, "Give an amount above zero"),
    ({"usd": "0.00"}, "usd", "0.00", "Give an amount above zero"),
    ({"tokens": 0}, "tokens", 0, ABOVE_ZERO),
    ({"tokens": -5}, "tokens", -5, ABOVE_ZERO),
    ({"tokens": 1.5}, "tokens", 1.5, WHOLE),
    ({"tokens": "many"}, "tokens", "many", WHOLE),
    ({"tokens": "100"}, "tokens", "100", WHOLE),
    ({"tokens": True}, "tokens", True, WHOLE),
    ({"tokens": MAX_AMOUNT + 1}, "tokens", MAX_AMOUNT + 1, "Give a smaller number"),
    ({"model_calls": 0}, "model_calls", 0, ABOVE_ZERO),
    ({"model_calls": 2.0}, "model_calls", 2.0, WHOLE),
    ({"tool_calls": 0}, "tool_calls", 0, ABOVE_ZERO),
    ({"tool_calls": "5"}, "tool_calls", "5", WHOLE),
    ({"tool_calls": {}}, "tool_calls", {}, 'Give a number, or e.g. {"search": 5}'),
    ({"tool_calls": {"": 5}}, "tool_calls", {"": 5}, 'Give a number, or e.g. {"search": 5}'),
    ({"tool_calls": {"search": -1}}, "tool_calls.search", -1, ABOVE_ZERO),
    ({"tool_calls": {"search": True}}, "tool_calls.search", True, WHOLE),
    ({"loops": 0}, "loops", 0, ABOVE_ZERO),
    ({"depth": -1}, "depth", -1, ABOVE_ZERO),
    ({"context_tokens": "16k"}, "context_tokens", "16k", WHOLE),
    ({"context_tokens": 16_000, "context_overflow": "forget"}, "context_overflow", "forget", NAMED),
    ({"context_overflow": "summarize"}, "context_overflow", "summarize", CONTEXT),
    ({"requests_per_minute": 0}, "requests_per_minute", 0, ABOVE_ZERO),
    ({"alert_at": 1.2}, "alert_at", 1.2, SHARE),
    ({"alert_at": -0.1}, "alert_at", -0.1, NOT_NEGATIVE),
    ({"alert_at": float("nan")}, "alert_at", pytest.approx(float("nan"), nan_ok=True), "Give a finite number"),
    ({"alert_at": "0.5"}, "alert_at", "0.5", NUMBER),
    ({"alert_at": True}, "alert_at", True, NUMBER),
    ({"alert_at": 0.95}, "downgrade_at", 0.9, ALERT_FIRST),
    ({"downgrade_at": 2}, "downgrade_at", 2, SHARE),
    ({"downgrade_at": 0.5}, "downgrade_at", 0.5, ALERT_FIRST),
    ({"landing_reserve": 1}, "landing_reserve", 1, "Give a share below 1, e.g. 0.05"),
    ({"landing_reserve": -0.5}, "landing_reserve", -0.5, NOT_NEGATIVE),
    ({"min_output_tokens": 0}, "min_output_tokens", 0, ABOVE_ZERO),
    ({"max_wait": -1}, "max_wait", -1, NOT_NEGATIVE),
    ({"max_wait": 7200}, "max_wait", 7200, "Give a smaller number"),
    ({"max_wait": float("inf")}, "max_wait", float("inf"), "Give a finite number"),
    ({"on_exhausted": "stop"}, "on_exhausted", "stop", NAMED),
    ({"mode": "observe"}, "mode", "observe", NAMED),
    ({"window": "fortnight"}, "window", "fortnight", NAMED),
    ({"window": "Month"}, "window", "Month", NAMED),
    ({"timezone": "Paris"}, "timezone", "Paris", ZONE),
    ({"timezone": ""}, "timezone", "", ZONE),
    ({"timezone": "Europe"}, "timezone", "Europe", ZONE),
    ({"timezone": "../../etc/passwd"}, "timezone", "../../etc/passwd", ZONE),
    ({"timezone": "Europe/Paris\0"}, "timezone", "Europe/Paris\0", ZONE),
    ({"timezone": 2}, "timezone", 2, "Give text"),
    ({"per": 5}, "per", 5, SEVERAL),
    ({"per": [1]}, "per.0", 1, "Give text"),
    ({"per": "cost center"}, "per", "cost center", 'Use names such as "tenant"'),
    ({"per": {"user"}}, "per", {"user"}, IN_ORDER),
    ({"per": frozenset({"user"})}, "per", frozenset({"user"}), IN_ORDER),
    ({"per": {"user": 1}.keys()}, "per", {"user": 1}.keys(), IN_ORDER),
    ({"per": ("user", "user")}, "per", ("user", "user"), "Name each dimension once"),
    ({"where": "premium"}, "where", "premium", TO_MATCH.replace("Name the values to match", "Give a mapping")),
    ({"where": {"model_class": [1]}}, "where.model_class.0", 1, "Give text"),
    ({"where": {"model_class": ()}}, "where", {"model_class": ()}, TO_MATCH),
    ({"where": {"model_class": ""}}, "where", {"model_class": ""}, TO_MATCH),
    ({"where": {"model class": "premium"}}, "where", {"model class": "premium"}, 'Use names such as "tenant"'),
    ({"name": " spaced "}, "name", " spaced ", NAME),
    ({"name": "two\nlines"}, "name", "two\nlines", NAME),
    ({"name": "half \ud800"}, "name", "half \ud800", NAME),
    ({"name": "n" * 101}, "name", "n" * 101, NAME),
    ({"name": 7}, "name", 7, "Give text"),
    ({"dollars": 5}, "dollars", 5, "Remove it, or see the fields of Budget for the right name"),
]


@pytest.mark.parametrize(("fields", "field", "value", "remedy"), BAD, ids=lambda part: repr(part)[:40])
def test_a_wrong_field_is_named_with_its_value_its_place_and_the_remedy(
    fields: dict[str, Any], field: str, value: object, remedy: str
) -> None:
    named = {"name": "trial", **fields}
    with pytest.raises(InvalidBudget) as caught:
        Budget(**{"model_calls": 3, **named})
    error = caught.value
    assert (error.field, error.value, error.remedy) == (field, value, remedy)
    assert error.place == (f"Budget {named['name']!r}" if isinstance(named["name"], str) else "Budget")
    assert str(error).startswith(f"{error.place}: {field}=")
    assert str(error).endswith(remedy)


def test_a_budget_without_a_name_is_placed_as_budget() -> None:
    with pytest.raises(InvalidBudget, match=r"^Budget: usd=-1: is negative"):
        Budget(usd=-1)


def test_a_budget_without_any_limit_is_refused() -> None:
    with pytest.raises(InvalidBudget) as caught:
        Budget(alert_at=0.5)
    assert (caught.value.field, caught.value.value) == ("usd", None)
    assert caught.value.remedy.startswith("Give at least one of usd, tokens, model_calls")


def test_the_first_of_two_mistakes_is_named() -> None:
    with pytest.raises(InvalidBudget) as caught:
        Budget(usd=-1, tokens=0)
    assert caught.value.field == "usd"


@pytest.mark.parametrize(
    ("given_usd", "nanos"),
    [
        ("1.00", 1_000_000_000),
        (1, 1_000_000_000),
        (0.1, 100_000_000),
        (0.1 + 0.2, 300_000_000),
        (Decimal("0.0000000019"), 1),
        ("9223372036.854775807", MAX_AMOUNT),
    ],
)
def test_money_is_kept_to_the_nano_dollar(given_usd: Any, nanos: int) -> None:
    budget = Budget(usd=given_usd)
    assert budget.usd_nanos == nanos
    assert budget.usd == Decimal(nanos) / 1_000_000_000


@given(st.decimals(min_value="0.000000001", max_value="9000000000", places=9))
def test_every_amount_a_ledger_can_keep_survives_unchanged(amount: Decimal) -> None:
    budget = Budget(usd=amount)
    assert budget.usd == amount
    assert budget.usd_nanos == int(amount.scaleb(9))


def test_a_name_is_made_of_what_the_budget_is_kept_per() -> None:
    assert Budget(usd=1).name == "session"
    assert Budget(usd=1, per=("tenant", "feature"), window="month").name == "tenant/feature/month"
    assert Budget(usd=1, per=(), window="day").name == "all/day"


@pytest.mark.parametrize(
    ("fields", "share"),
    [
        ({}, 0.03),
        ({"per": "run"}, 0.03),
        ({"per": "tenant"}, 0.0),
        ({"per": ()}, 0.0),
        ({"on_exhausted": "raise"}, 0.0),
        ({"on_exhausted": "suspend"}, 0.0),
        ({"landing_reserve": 0}, 0.0),
        ({"per": "tenant", "landing_reserve": 0.25}, 0.25),
    ],
)
def test_only_what_lands_keeps_something_for_it(fields: dict[str, Any], share: float) -> None:
    assert Budget(usd=1, **fields).landing_reserve == share


def test_one_name_stands_for_a_tuple_of_one() -> None:
    budget = Budget(usd=1, per="tenant", where={"model_class": "premium", "feature": ["a", "b"]})
    assert budget.per == ("tenant",)
    assert budget.where == {"model_class": ("premium",), "feature": ("a", "b")}


def test_tool_limits_are_by_name_or_for_all_together() -> None:
    assert Budget(usd=1).tool_limits == {}
    assert Budget(tool_calls=7).tool_limits == {"*": 7}
    assert Budget(tool_calls={"search": 2, "*": 9}).tool_limits == {"search": 2, "*": 9}


def test_a_budget_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Budget(usd=1).usd = Decimal(5)


def test_a_copy_with_changes_is_checked_and_derives_its_fields_anew() -> None:
    first = Budget(usd=1)
    assert first.usd_nanos == 1_000_000_000
    second = first.model_copy(update={"usd": 2, "per": "tenant"})
    assert (second.usd_nanos, second.name, second.landing_reserve) == (2_000_000_000, "tenant", 0.0)
    assert first.model_copy() == first
    with pytest.raises(InvalidBudget, match="usd=-3: is negative"):
        first.model_copy(update={"usd": -3})


def test_a_budget_survives_pickling_and_copying() -> None:
    budget = Budget(usd="1.5", per=("tenant",), where={"model_class": "premium"}, tool_calls={"search": 2})
    assert pickle.loads(pickle.dumps(budget)) == budget == copy.deepcopy(budget)
