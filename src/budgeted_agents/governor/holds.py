"""From budgets and a call to what must be held in which accounts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from budgeted_agents.budget.attribution import UNATTRIBUTED, Attribution
from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy
from budgeted_agents.budget.window import WindowKind, window_at
from budgeted_agents.governor.call import ModelCall, Quote
from budgeted_agents.ledgers.contract import Account, Hold

account = lru_cache(maxsize=16_384)(Account)
"""Accounts are asked for again and again; making one builds its key."""


def matching(policy: Policy, attribution: Attribution) -> Iterator[Budget]:
    """Budgets that govern a call with this attribution."""
    for budget in policy.budgets:
        if not budget.where or all(attribution.get(name) in values for name, values in budget.where.items()):
            yield budget


def governing(policy: Policy, call: ModelCall) -> tuple[Budget, ...]:
    """Budgets that govern this call by one of its tiers at least."""
    found = {budget.name: budget for quote in call.quotes for budget in matching(policy, _who(call.attribution, quote))}
    return tuple(found.values())


def scope_of(budget: Budget, attribution: Attribution) -> tuple[tuple[str, str], ...]:
    """The values of the budget's ``per`` dimensions; what nobody attributed shares one account."""
    return tuple([(name, attribution.get(name) or UNATTRIBUTED) for name in budget.per])


def window_id(budget: Budget, now: float) -> str:
    return window_at(budget.window, budget.timezone, now).id if budget.window else ""


def model_holds(
    policy: Policy, attribution: Attribution, quote: Quote, *, now: float, landing: frozenset[str] = frozenset()
) -> tuple[Hold, ...]:
    """What a model call by this tier holds: one hold for each limit of each matching budget."""
    who = _who(attribution, quote)
    holds: list[Hold] = []
    for budget in matching(policy, who):
        scope, window = scope_of(budget, who), window_id(budget, now)
        for unit, limit, base, rate in _model_lines(budget, quote):
            in_window = window_at(WindowKind.MINUTE, "UTC", now).id if unit == "requests" else window
            keep = 0 if budget.name in landing else kept_for_landing(budget, unit, limit)
            holds.append(Hold(account(budget.name, scope, in_window, unit), limit, base, rate, keep, not budget.shadow))
    return tuple(holds)


def _who(attribution: Attribution, quote: Quote) -> Attribution:
    """Who a call is for when this tier makes it."""
    who = {**attribution, "model": quote.model}
    return who | {"model_class": quote.model_class} if quote.model_class else who


def _model_lines(budget: Budget, quote: Quote) -> Iterator[tuple[str, int, int, int]]:
    """``(unit, limit, base, rate)`` for each limit of the budget that a model call touches."""
    if budget.usd_nanos is not None:
        yield "usd", budget.usd_nanos, quote.base, quote.rate
    if budget.tokens is not None:
        yield "tokens", budget.tokens, quote.input_tokens, 1000
    if budget.model_calls is not None:
        yield "model_calls", budget.model_calls, 1, 0
    if budget.requests_per_minute is not None:
        yield "requests", budget.requests_per_minute, 1, 0


def tool_holds(policy: Policy, attribution: Attribution, tool: str, *, now: float) -> tuple[Hold, ...]:
    """What one call of a tool holds: the limit on the tool, and the limit on all tools together."""
    who = {**attribution, "tool": tool}
    holds: list[Hold] = []
    for budget in matching(policy, who):
        for name, limit in budget.tool_limits.items():
            if name in ("*", tool):
                unit = "tool_calls" if name == "*" else f"tool_calls:{name}"
                account_ = account(budget.name, scope_of(budget, who), window_id(budget, now), unit)
                holds.append(Hold(account_, limit, 1, enforce=not budget.shadow))
    return tuple(holds)


def kept_for_landing(budget: Budget, unit: str, limit: int) -> int:
    """What ordinary calls leave to the finalizer: the landing reserve's share, or one of the model calls."""
    share = budget.landing_reserve or 0.0
    if not share or unit == "requests":
        return 0
    if unit == "model_calls":
        return 1 if limit > 1 else 0
    return -(-limit * round(share * 1_000_000) // 1_000_000)
