"""``Plan``: which accounts a call touches, and on what terms. Worked out once for all calls that are alike.

From call to call of one agent only the tokens and what they cost change. Which budgets match, under which limits, and
what is kept for landing depend on the model and on the few values that budgets are bound to (``where``), until a window
ends: that is an ``Outline``. Whose accounts are charged (``per``) makes a plan of it, which a new session wants anew.
Pure, but for ``Plans``, which remembers both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from budgeted_agents.budget.attribution import Attribution
from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy
from budgeted_agents.governor.call import Quote
from budgeted_agents.governor.holds import account, kept_for_landing, matching, scope_of, window_of
from budgeted_agents.governor.ladder import least_output
from budgeted_agents.ledgers.contract import RATE_SCALE, Hold
from budgeted_agents.ledgers.rules import amount
from budgeted_agents.ledgers.units import MODEL_CALLS, REQUESTS, TOKENS, USD, tool_unit

MOST_PLANS = 4_096
"""Plans remembered at a time; a policy needs one for each model, account and window in use."""


class Plan(Struct, frozen=True):
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

    def holds(self, quote: Quote, spare: int = 0) -> tuple[Hold, ...]:
        """What a model call holds at this price. Accounts that count calls hold one, as the terms say.

        With ``spare``, it leaves enough for another call like it, with an answer of so many tokens.
        """
        holds = []
        for hold in self.terms:
            unit = hold.account.unit
            if unit == USD:
                hold = Hold(hold.account, hold.limit, quote.base, quote.rate, hold.keep, hold.enforce)
            elif unit == TOKENS:
                hold = Hold(hold.account, hold.limit, quote.input_tokens, RATE_SCALE, hold.keep, hold.enforce)
            if spare:
                hold = replace(hold, keep=hold.keep + amount(hold, spare))
            holds.append(hold)
        return tuple(holds)


class Limit(Struct, frozen=True):
    """One limit of a budget, whoever's account it stands in.

    Attributes:
        budget: whose limit it is.
        unit, limit: what is counted, and how far.
        keep: the part of it that the call may not touch.
        window: the id of the window it is counted in; empty for one that never starts afresh.
        during: when that window starts and ends, in seconds since the epoch.
    """

    budget: Budget
    unit: str
    limit: int
    keep: int
    window: str
    during: tuple[float, float]

    @classmethod
    def of(cls, budget: Budget, unit: str, limit: int, keep: int, now: float) -> Limit:
        window = window_of(budget, unit, now)
        during = (window.start, window.end) if window else (-math.inf, math.inf)
        return cls(budget, unit, limit, keep, window.id if window else "", during)

    def term(self, who: Attribution) -> Hold:
        """A hold of one call in the account of whoever makes it."""
        budget = self.budget
        charged = account(budget.name, scope_of(budget, who), self.window, self.unit)
        return Hold(charged, self.limit, 1, 0, self.keep, not budget.shadow)


class Outline(Struct, frozen=True):
    """A plan for whoever makes the call: its limits, and a plan that lacks the accounts."""

    limits: tuple[Limit, ...]
    blank: Plan

    @classmethod
    def of(cls, budgets: tuple[Budget, ...], limits: Iterable[Limit]) -> Outline:
        limits = tuple(limits)
        blank = Plan(
            budgets,
            (),
            max((limit.during[0] for limit in limits), default=-math.inf),
            min((limit.during[1] for limit in limits), default=math.inf),
            least_output(budgets),
            {budget.name: budget.max_wait for budget in budgets},
            any(budget.shadow for budget in budgets),
        )
        return cls(limits, blank)

    def plan(self, who: Attribution) -> Plan:
        """The plan of calls with this attribution."""
        return replace(self.blank, terms=tuple([limit.term(who) for limit in self.limits]))


Key = tuple[object, ...]


class Plans:
    """The plans of one policy, each made when it is first asked for. Safe from any thread."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._bound_to = tuple({name for budget in policy.budgets for name in budget.where})
        self._looked_at = tuple({name for budget in policy.budgets for name in (*budget.per, *budget.where)})
        self._outlines: dict[Key, Outline] = {}
        self._plans: dict[Key, Plan] = {}

    def of_model(self, attribution: Attribution, quote: Quote, landing: frozenset[str], now: float) -> Plan:
        """The plan of a model call by the quote's tier."""
        call = (quote.model, quote.model_class, landing)
        key = (*call, *map(attribution.get, self._looked_at))
        plan = self._plans.get(key)
        if plan is not None and plan.starts <= now < plan.ends:
            return plan
        who = _with_model(attribution, quote)
        return self._made(key, call, who, now, lambda: model_outline(self._policy, who, landing, now))

    def of_tool(self, attribution: Attribution, tool: str, now: float) -> Plan:
        """The plan of one call of a tool."""
        key = (tool, *map(attribution.get, self._looked_at))
        plan = self._plans.get(key)
        if plan is not None and plan.starts <= now < plan.ends:
            return plan
        who = {**attribution, "tool": tool}
        return self._made(key, (tool,), who, now, lambda: tool_outline(self._policy, who, now))

    def _made(self, key: Key, call: Key, who: Attribution, now: float, outlined: Callable[[], Outline]) -> Plan:
        bound = (*call, *map(who.get, self._bound_to))
        outline = self._outlines.get(bound)
        if outline is None or not outline.blank.starts <= now < outline.blank.ends:
            if len(self._outlines) >= MOST_PLANS:
                self._outlines.clear()
            outline = self._outlines[bound] = outlined()
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        plan = self._plans[key] = outline.plan(who)
        return plan


def model_plan(
    policy: Policy, attribution: Attribution, quote: Quote, *, now: float, landing: frozenset[str] = frozenset()
) -> Plan:
    """One hold for each limit of each matching budget that a model call by this tier touches."""
    who = _with_model(attribution, quote)
    return model_outline(policy, who, landing, now).plan(who)


def tool_plan(policy: Policy, attribution: Attribution, tool: str, *, now: float) -> Plan:
    """One hold for the limit on the tool, and one for the limit on all tools together, of each matching budget."""
    who = {**attribution, "tool": tool}
    return tool_outline(policy, who, now).plan(who)


def _with_model(attribution: Attribution, quote: Quote) -> Attribution:
    who = {**attribution, "model": quote.model}
    if quote.model_class:
        who["model_class"] = quote.model_class
    return who


def model_outline(policy: Policy, who: Attribution, landing: frozenset[str], now: float) -> Outline:
    """What a model call is held to, whoever makes it."""
    budgets, limits = tuple(matching(policy, who)), []
    for budget in budgets:
        for unit, limit in _model_limits(budget).items():
            keep = 0 if budget.name in landing else kept_for_landing(budget, unit, limit)
            limits.append(Limit.of(budget, unit, limit, keep, now))
    return Outline.of(budgets, limits)


def tool_outline(policy: Policy, who: Attribution, now: float) -> Outline:
    """What a call of a tool is held to, whoever makes it."""
    budgets, limits = tuple(matching(policy, who)), []
    for budget in budgets:
        for name, limit in budget.tool_limits.items():
            if name in ("*", who["tool"]):
                limits.append(Limit.of(budget, tool_unit(name), limit, 0, now))
    return Outline.of(budgets, limits)


def _model_limits(budget: Budget) -> dict[str, int]:
    """The budget's limits that a model call touches, by unit."""
    limits = {
        USD: budget.usd_nanos,
        TOKENS: budget.tokens,
        MODEL_CALLS: budget.model_calls,
        REQUESTS: budget.requests_per_minute,
    }
    return {unit: limit for unit, limit in limits.items() if limit is not None}
