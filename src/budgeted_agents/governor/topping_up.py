"""Which accounts a top-up of a budget goes to: those that the same attribution would charge. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from budgeted_agents.budget.attribution import Attribution
from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy
from budgeted_agents.errors import InvalidBudget
from budgeted_agents.governor.holds import scope_of, window_of
from budgeted_agents.ledgers.contract import Account
from budgeted_agents.ledgers.topping_up import PLACE, TopUpLine
from budgeted_agents.ledgers.units import MODEL_CALLS, TOKENS, USD, tool_unit

_BY_CALL = frozenset({"run", "node", "tool", "model", "model_class"})
"""Dimensions that only a call in progress has a value for."""


def budget_to_top_up(policy: Policy, name: str | None, others: Mapping[str, Budget] | None = None) -> Budget:
    """The budget of this name; without one, the one kept per session, or the only one there is.

    Args:
        policy: the application's own budgets.
        name: as its user names it.
        others: budgets that may be named as well, by name.

    Raises:
        InvalidBudget: there is none, or which one is meant is not clear.
    """
    names = dict.fromkeys([*policy.by_name, *(others or ())])
    if name is None:
        own = [budget for budget in policy.budgets if "session" in budget.per] or list(policy.budgets)
        if len(own) == 1:
            return own[0]
        problem = "does not say which budget is to be topped up"
    else:
        found = policy.by_name.get(name) or (others or {}).get(name)
        if found is not None:
            return found
        problem = "names no budget of this graph"
    remedy = f"Name one of {', '.join(map(repr, names))}"
    raise InvalidBudget(problem, field="budget", value=name, place=PLACE, remedy=remedy)


def top_up_lines(
    budget: Budget, attribution: Attribution, amounts: Mapping[str, int], *, now: float
) -> list[TopUpLine]:
    """What each account of the budget gets: those of this attribution, in the window of ``now``.

    Raises:
        InvalidBudget: the budget does not limit what is to be added, or keeps an account for each call's own values.
    """
    for name in budget.per:
        if name in _BY_CALL and name not in attribution:
            raise InvalidBudget(
                f"keeps an account per {name}, which only a call in progress has",
                field="budget",
                value=budget.name,
                place=PLACE,
                remedy=f"Put {name!r} into the config's metadata, or raise the budget itself",
            )
    limits = _limits(budget)
    unlimited = [unit for unit in amounts if unit not in limits]
    if unlimited:
        problem, remedy = f"has no limit of {unlimited[0]}", f"Top up one of {', '.join(limits) or 'its other limits'}"
        raise InvalidBudget(
            problem, field=unlimited[0], value=amounts[unlimited[0]], place=f"Budget {budget.name!r}", remedy=remedy
        )
    scope, lines = scope_of(budget, attribution), list[TopUpLine]()
    for unit, amount in amounts.items():
        window = window_of(budget, unit, now)
        lines.append(TopUpLine(Account(budget.name, scope, window.id if window else "", unit), amount, limits[unit]))
    return lines


def _limits(budget: Budget) -> dict[str, int]:
    """The limits a ledger keeps, by unit."""
    limits = {USD: budget.usd_nanos, TOKENS: budget.tokens, MODEL_CALLS: budget.model_calls}
    limits |= {tool_unit(name): limit for name, limit in budget.tool_limits.items()}
    return {unit: limit for unit, limit in limits.items() if limit is not None}
