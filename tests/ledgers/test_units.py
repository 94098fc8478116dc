"""Amounts and their units as people are told of them."""

from __future__ import annotations

import pytest

from budgeted_agents.ledgers.units import REQUESTS, TOKENS, USD, amount_text, exact_text, tool_unit


@pytest.mark.parametrize(
    ("unit", "amount", "told"),
    [
        (USD, 12_345_678, "$0.0123"),
        (TOKENS, 1_200, "1,200 tokens"),
        (REQUESTS, 60, "60 requests"),
        (tool_unit("*"), 3, "3 tool calls"),
        (tool_unit("read_file"), 3, "3 tool calls of read_file"),
        (tool_unit("files:read"), 3, "3 tool calls of files:read"),
    ],
)
def test_the_name_of_a_tool_is_told_as_it_is(unit: str, amount: int, told: str) -> None:
    assert amount_text(unit, amount) == told


def test_an_amount_beside_its_unit_is_exact() -> None:
    assert (exact_text(USD, 12_345_678), exact_text(TOKENS, 1_200)) == ("0.012345678", "1,200")
