"""Which budgets govern a call, which accounts they charge it to, and what they keep for landing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from budgeted_agents.budget.attribution import UNATTRIBUTED, Attribution
from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy, is_same_model
from budgeted_agents.budget.window import Window, WindowKind, window_at
from budgeted_agents.ledgers.contract import Account
from budgeted_agents.ledgers.units import MODEL_CALLS, REQUESTS

account = lru_cache(maxsize=16_384)(Account)
"""Accounts are asked for again and again; making one builds its key."""


def matching(policy: Policy, attribution: Attribution) -> Iterator[Budget]:
    """Budgets that govern a call with this attribution."""
    for budget in policy.budgets:
        if all(_is_meant(name, attribution.get(name), values) for name, values in budget.where.items()):
            yield budget


def _is_meant(dimension: str, value: str | None, values: tuple[str, ...]) -> bool:
    """Whether a budget that is bound to some values of a dimension is bound to this one."""
    if dimension == "model" and value is not None:
        return any(is_same_model(value, name) for name in values)
    return value in values


def scope_of(budget: Budget, attribution: Attribution) -> tuple[tuple[str, str], ...]:
    """The values of the budget's ``per`` dimensions; what nobody attributed shares one account."""
    return tuple([(name, attribution.get(name) or UNATTRIBUTED) for name in budget.per])


def minute_of(now: float) -> Window:
    """The minute of the clock in which requests are counted, whatever a budget's own window."""
    return window_at(WindowKind.MINUTE, "UTC", now)


def window_of(budget: Budget, unit: str, now: float) -> Window | None:
    """The window in which a budget counts a unit now; None if it counts for good."""
    if unit == REQUESTS:
        return minute_of(now)
    return window_at(budget.window, budget.timezone, now) if budget.window else None


def kept_for_landing(budget: Budget, unit: str, limit: int) -> int:
    """What ordinary calls leave to the finalizer: the landing reserve's share, or one of the model calls."""
    share = budget.landing_reserve or 0.0
    if not share or unit == REQUESTS:
        return 0
    if unit == MODEL_CALLS:
        return 1 if limit > 1 else 0
    return -(-limit * round(share * 1_000_000) // 1_000_000)
