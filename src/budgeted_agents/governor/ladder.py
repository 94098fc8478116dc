"""The ladder: what happens as pressure rises. Pure: balances in, the ways to make the call out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy
from budgeted_agents.governor.call import Candidate, ModelCall, Quote
from budgeted_agents.ledgers.contract import Balance, Hold
from budgeted_agents.ledgers.units import USD

AS_ASKED = "as asked"
TOO_DEAR = "asked-for tier does not fit"
CLAMPED = "answer shortened to what the money buys"
LANDING = "landing on the cheapest tier"


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full the accounts of a call are.

    Attributes:
        utilization: the highest of all accounts, 0 to 1 (above 1 after an overrun).
        budget: the budget it belongs to.
        downgrades: whether some budget has passed its ``downgrade_at``.
        relieved: whether every budget is below its ``alert_at``, so that a better tier may be used again.
    """

    utilization: float = 0.0
    budget: str = ""
    downgrades: bool = False
    relieved: bool = True


CALM = Pressure()
"""Of accounts that have all their money; also what is taken for a call that has no other tier to step to."""


def utilization(limit: int, balance: Balance) -> float:
    """Share of an account's limit that is spent or held."""
    total = limit + balance.credit
    return (balance.spent + balance.held) / total if total > 0 else 1.0


def pressure(policy: Policy, holds: Sequence[Hold], balances: Sequence[Balance]) -> Pressure:
    """The pressure on a call before it holds anything itself.

    Only money presses toward a cheaper model: a cheaper model does not make fewer tokens or calls.
    """
    highest, name, downgrades, relieved = 0.0, "", False, True
    for hold, balance in zip(holds, balances, strict=True):
        share = utilization(hold.limit, balance)
        if share > highest:
            highest, name = share, hold.account.budget
        if hold.account.unit == USD and hold.enforce:
            budget = policy.by_name[hold.account.budget]
            downgrades = downgrades or share >= budget.downgrade_at
            relieved = relieved and share < budget.alert_at
    return Pressure(highest, name, downgrades, relieved)


def candidates(call: ModelCall, state: Pressure, *, held_tier: int, min_output: int) -> list[Candidate]:
    """The ways to make the call, in the order to try them.

    First each tier, from the one the pressure starts at, with an answer of useful length; then each again with the
    answer shortened down to ``min_output`` tokens; both behind what the tier is likely to think for. ``held_tier`` is
    the tier this session was stepped down to: it is kept until the pressure is off, so that tiers do not flap and the
    provider's prompt cache is not forfeited twice.
    """
    if len(call.quotes) == 1 and not call.clampable:  # nothing to choose from
        quote = call.quotes[0]
        return [Candidate(quote, quote.output_limit, quote.output_limit, LANDING if call.landing else AS_ASKED)]
    tiers = _landing_order(call.quotes) if call.landing else _tier_order(call.quotes, state, held_tier)
    if not call.clampable:
        return [Candidate(quote, quote.output_limit, quote.output_limit, reason) for quote, reason in tiers]
    useful = call.useful_output
    whole = [
        Candidate(quote, min(quote.thinking + useful, quote.output_limit), quote.output_limit, reason)
        for quote, reason in tiers
    ]
    return whole + [
        Candidate(way.quote, way.quote.thinking + min_output, way.ask, CLAMPED, shortened=True)
        for way in whole
        if way.quote.thinking + min_output < way.floor
    ]


def _landing_order(quotes: Sequence[Quote]) -> list[tuple[Quote, str]]:
    return [(quote, LANDING) for quote in sorted(quotes, key=lambda quote: (quote.expected, quote.tier))]


def _tier_order(quotes: Sequence[Quote], state: Pressure, held_tier: int) -> list[tuple[Quote, str]]:
    """The tier to start at, then each one cheaper for this very call than the one before."""
    if len(quotes) == 1:
        return [(quotes[0], AS_ASKED)]
    start = 0 if state.relieved else min(held_tier, len(quotes) - 1)
    reason = AS_ASKED if start == 0 else "kept on the cheaper tier"
    if state.downgrades:
        cheaper = _next_cheaper(quotes, start)
        if cheaper is not None and start == 0:
            start, reason = cheaper, f"pressure {state.utilization:.0%} on budget {state.budget!r}"
    order = [(quotes[start], reason)]
    following = _next_cheaper(quotes, start)
    while following is not None:
        order.append((quotes[following], TOO_DEAR))
        following = _next_cheaper(quotes, following)
    return order


def _next_cheaper(quotes: Sequence[Quote], index: int) -> int | None:
    """The next tier that is cheaper for this call, cached tokens counted; None if there is none."""
    for following in range(index + 1, len(quotes)):
        if quotes[following].expected < quotes[index].expected:
            return following
    return None


def least_output(budgets: Iterable[Budget]) -> int:
    """The shortest answer that every one of these budgets that enforces still finds worth paying for, in tokens."""
    return max((budget.min_output_tokens for budget in budgets if not budget.shadow), default=1)


def context_limit(budgets: Iterable[Budget]) -> int | None:
    """The tightest cap on input tokens among these budgets that enforce one."""
    budget = tightest_on_context(budgets)
    return None if budget is None else budget.context_tokens


def tightest_on_context(budgets: Iterable[Budget]) -> Budget | None:
    """The budget with the tightest cap on input tokens that is enforced; of equal caps, one that asks for summaries."""
    capped = [(b.context_tokens, b.context_overflow == "trim", b) for b in budgets if b.context_tokens and not b.shadow]
    return min(capped, key=lambda cap: cap[:2])[2] if capped else None
