"""A budget in one line."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.budget import Budget, parse_budget
from budgeted_agents.errors import InvalidBudget


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("usd=0.50", {"usd": "0.50"}),
        ("0.50", {"usd": "0.50"}),
        ("usd=1.00, tool_calls=20", {"usd": "1.00", "tool_calls": 20}),
        ("name=tight,tokens=5000", {"name": "tight", "tokens": 5000}),
        ("tool-calls.search=3,tool_calls.*=9", {"tool_calls": {"search": 3, "*": 9}}),
        ("usd=9,per=tenant+feature,window=month", {"usd": 9, "per": ("tenant", "feature"), "window": "month"}),
        ("usd=9,timezone=Europe/Paris", {"usd": 9, "timezone": "Europe/Paris"}),
        ("usd=9,per=", {"usd": 9, "per": ()}),
        ("usd=9,where.model_class=premium+best", {"usd": 9, "where": {"model_class": ("premium", "best")}}),
        ("usd=9,alert_at=0.5,landing_reserve=0", {"usd": 9, "alert_at": 0.5, "landing_reserve": 0.0}),
        (
            "context_tokens=16000,context_overflow=summarize",
            {"context_tokens": 16_000, "context_overflow": "summarize"},
        ),
        ("usd=9,on_exhausted=raise,mode=shadow", {"usd": 9, "on_exhausted": "raise", "mode": "shadow"}),
    ],
)
def test_a_line_says_what_budget_says(text: str, fields: dict[str, Any]) -> None:
    assert parse_budget(text) == Budget(**fields)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("usd=much", "usd"),
        ("usd=-1", "usd"),
        ("tool_calls=many", "tool_calls"),
        ("tool_calls=1.5", "tool_calls"),
        ("usd=1,usd=2", "usd"),
        ("tool_calls=1,tool_calls.search=2", "tool_calls.search"),
        ("tool_calls.search=1,tool_calls=2", "tool_calls"),
        ("usd=1,bogus=2", "bogus"),
        ("usd=1,tool_calls", "tool_calls"),
        ("usd=1,", "budget"),
        ("=1", "budget"),
        ("", "usd"),
        ("usd=1,window=fortnight", "window"),
        ("usd=1,alert_at=nan", "alert_at"),
        ("usd=1,context_overflow=summarize", "context_overflow"),
        ("usd=1,where=premium", "where"),
        ("usd.x=1", "usd"),
        ("tool_calls=9" * 1000, "tool_calls"),
    ],
)
def test_a_bad_line_names_the_field(text: str, field: str) -> None:
    with pytest.raises(InvalidBudget) as caught:
        parse_budget(text)
    assert caught.value.field.startswith(field)


@given(st.text())
def test_no_line_brings_a_foreign_error(text: str) -> None:
    with suppress(InvalidBudget):
        parse_budget(text)


@given(st.decimals("0.01", "1000000", places=2), st.integers(1, 10**9))
def test_any_limits_can_be_said(usd: Decimal, calls: int) -> None:
    budget = parse_budget(f"usd={usd},model_calls={calls}")
    assert (budget.usd, budget.model_calls) == (usd, calls)
