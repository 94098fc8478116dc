"""``Plan``: which accounts a call touches, and on what terms. Worked out once for all calls that are alike.

From call to call of one agent only the tokens and what they cost change. Which budgets match, whose accounts are
charged, under which limits, and what is kept for landing depend on the model and on the few values of the attribution
that budgets look at, until a window ends. Pure, but for ``Plans``, which remembers plans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from budgeted_agents.budget.attribution import Attribution
from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy
from budgeted_agents.budget.window import WindowKind, window_at
from budgeted_agents.governor.call import Quote
from budgeted_agents.governor.holds import account, kept_for_landing, matching, scope_of
from budgeted_agents.governor.ladder import least_output
from budgeted_agents.ledgers.contract import Hold

MOST_PLANS = 4_096
"""Plans remembered at a time; a policy needs one for each model, account and window in use."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What calls that are alike hold, in which accounts.

    Attributes:
        budgets: those that govern the call.
        terms: a hold for each of their limits, as for a call that is only counted.
        starts, ends: seconds since the epoch between which the accounts are these.
        least_output: the shortest answer that is worth paying for, in tokens.
        patience: seconds that a call may wait for money, by budget name.
        watches: whether some budget only watches (shadow mode).
    """

    budgets: tuple[Budget, ...]
    terms: tuple[Hold, ...]
    starts: float
    ends: float
    least_output: int
    patience: Mapping[str, float]
    watches: bool

    @classmethod
    def of(cls, budgets: Iterable[Budget], terms: Iterable[tuple[Hold, tuple[float, float]]]) -> Plan:
        """The plan of these budgets and terms; with each hold comes the time in which its account is charged."""
        budgets, terms = tuple(budgets), tuple(terms)
        return cls(
            budgets,
            tuple(hold for hold, _ in terms),
            max((start for _, (start, _) in terms), default=-math.inf),
            min((end for _, (_, end) in terms), default=math.inf),
            least_output(budgets),
            {budget.name: budget.max_wait for budget in budgets},
            any(budget.shadow for budget in budgets),
        )

    def holds(self, quote: Quote, spare: int = 0) -> tuple[Hold, ...]:
        """What a model call holds at this price. Accounts that count calls hold one, as the terms say.

        With ``spare``, it leaves enough for another call like it, with an answer of so many tokens.
        """
        holds = []
        for hold in self.terms:
            unit = hold.account.unit
            if unit == "usd":
                hold = Hold(hold.account, hold.limit, quote.base, quote.rate, hold.keep, hold.enforce)
            elif unit == "tokens":
                hold = Hold(hold.account, hold.limit, quote.input_tokens, 1000, hold.keep, hold.enforce)
            if spare:
                hold = replace(hold, keep=hold.keep + hold.base - (-spare * hold.rate // 1000))
            holds.append(hold)
        return tuple(holds)


class Plans:
    """The plans of one policy, each made when it is first asked for. Safe from any thread."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._looked_at = tuple({name for budget in policy.budgets for name in (*budget.per, *budget.where)})
        self._plans: dict[tuple[object, ...], Plan] = {}

    def of_model(self, attribution: Attribution, quote: Quote, landing: frozenset[str], now: float) -> Plan:
        """The plan of a model call by the quote's tier."""
        key = (quote.model, quote.model_class, landing, *map(attribution.get, self._looked_at))
        plan = self._plans.get(key)
        if plan is None or not plan.starts <= now < plan.ends:
            plan = self._remember(key, model_plan(self._policy, attribution, quote, now=now, landing=landing))
        return plan

    def of_tool(self, attribution: Attribution, tool: str, now: float) -> Plan:
        """The plan of one call of a tool."""
        key = (tool, *map(attribution.get, self._looked_at))
        plan = self._plans.get(key)
        if plan is None or not plan.starts <= now < plan.ends:
            plan = self._remember(key, tool_plan(self._policy, attribution, tool, now=now))
        return plan

    def _remember(self, key: tuple[object, ...], plan: Plan) -> Plan:
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan


def model_plan(
    policy: Policy, attribution: Attribution, quote: Quote, *, now: float, landing: frozenset[str] = frozenset()
) -> Plan:
    """One hold for each limit of each matching budget that a model call by this tier touches."""
    who = {**attribution, "model": quote.model}
    if quote.model_class:
        who["model_class"] = quote.model_class
    budgets = tuple(matching(policy, who))
    terms = []
    for budget in budgets:
        for unit, limit in _model_limits(budget).items():
            keep = 0 if budget.name in landing else kept_for_landing(budget, unit, limit)
            terms.append(_term(budget, who, unit, limit, keep, now))
    return Plan.of(budgets, terms)


def tool_plan(policy: Policy, attribution: Attribution, tool: str, *, now: float) -> Plan:
    """One hold for the limit on the tool, and one for the limit on all tools together, of each matching budget."""
    who = {**attribution, "tool": tool}
    budgets = tuple(matching(policy, who))
    terms = []
    for budget in budgets:
        for name, limit in budget.tool_limits.items():
            if name in ("*", tool):
                unit = "tool_calls" if name == "*" else f"tool_calls:{name}"
                terms.append(_term(budget, who, unit, limit, 0, now))
    return Plan.of(budgets, terms)


def _model_limits(budget: Budget) -> dict[str, int]:
    """The budget's limits that a model call touches, by unit."""
    limits = {
        "usd": budget.usd_nanos,
        "tokens": budget.tokens,
        "model_calls": budget.model_calls,
        "requests": budget.requests_per_minute,
    }
    return {unit: limit for unit, limit in limits.items() if limit is not None}


def _term(
    budget: Budget, who: Attribution, unit: str, limit: int, keep: int, now: float
) -> tuple[Hold, tuple[float, float]]:
    """A hold of one call in the budget's account, and the window in which that is its account."""
    kind, zone = (WindowKind.MINUTE, "UTC") if unit == "requests" else (budget.window, budget.timezone)
    window = window_at(kind, zone, now) if kind else None
    charged = account(budget.name, scope_of(budget, who), window.id if window else "", unit)
    during = (window.start, window.end) if window else (-math.inf, math.inf)
    return Hold(charged, limit, 1, 0, keep, not budget.shadow), during
