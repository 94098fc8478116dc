"""What accounts count, by the names that ledgers keep, and amounts of it for people."""

from __future__ import annotations

from budgeted_agents.money import format_usd, to_usd

USD = "usd"
"""Counted in nano-USD."""

TOKENS = "tokens"
MODEL_CALLS = "model_calls"
TOOL_CALLS = "tool_calls"

REQUESTS = "requests"
"""What ``Budget.requests_per_minute`` limits: the minute is the window of such an account, not a part of its unit."""


def tool_unit(name: str) -> str:
    """What the limit on a tool counts; ``*`` stands for all tools together."""
    return TOOL_CALLS if name == "*" else f"{TOOL_CALLS}:{name}"


def unit_text(unit: str) -> str:
    """A unit for people: ``model calls``, ``tool calls of search``. The name of a tool stays as it is."""
    name, _, tool = unit.partition(":")
    return name.replace("_", " ") + (f" of {tool}" if tool else "")


def amount_text(unit: str, amount: int) -> str:
    """An amount with its unit, for people: ``$0.1234``, ``1,200 tokens``, ``3 tool calls of search``."""
    return format_usd(amount) if unit == USD else f"{amount:,} {unit_text(unit)}"


def exact_text(unit: str, amount: int) -> str:
    """An amount beside which its unit stands, to the last nano-USD: ``0.000000001``, ``1,200``."""
    return f"{to_usd(amount):f}" if unit == USD else f"{amount:,}"
