"""Admission of a model call: from what it would cost to money held for it, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import (
    Candidate,
    ModelCall,
    Pressure,
    candidates,
    least_output,
    matching,
    model_holds,
    pressure,
)
from budgeted_agents.ledgers.contract import Balance, Hold, Refusal, Reservation
from budgeted_agents.meter.meter import Meter, new_id
from budgeted_agents.meter.refusals import from_ledger
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.steps import Pause, Steps

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
"""Seconds between looks at a ledger while waiting for money that calls in flight may give back."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may be made.

    Attributes:
        id: the attempt's id.
        call: what was admitted; ``way`` how: the tier, and why.
        granted: output tokens granted. ``output_limit`` is the limit to set on the call, None to leave it alone.
        reserved: nano-USD held in the dearest of its accounts.
        deadline: when the hold expires.
        flags: what the record should say of it.
    """

    id: str
    run: Run
    call: ModelCall
    way: Candidate
    granted: int
    output_limit: int | None
    reserved: int
    started_at: float
    deadline: float
    step: int | None = None
    flags: tuple[str, ...] = ()


def admit(meter: Meter, run: Run, call: ModelCall, *, step: int | None = None) -> Steps[Admission]:
    """Hold money for a model call by the best tier that fits.

    Raises:
        BudgetExceeded: it fits in no way; the refusal has been noted in the session.
    """
    id, started = new_id(), meter.clock()
    tiers = tuple(quote.model for quote in call.quotes)
    holds = model_holds(meter.policy, call.attribution, call.quotes[0], now=started, landing=call.landing)
    balances = yield partial(meter.ledger.balances, [hold.account for hold in holds])
    state = pressure(meter.policy, holds, balances)
    budgets = list(matching(meter.policy, call.attribution))
    ways = candidates(call, state, held_tier=run.held_tier(tiers), min_output=least_output(budgets))
    patience = max((budget.max_wait for budget in budgets), default=0.0) if run.may_wait else 0.0
    memo = _memo(run, call, step)
    try:
        way, reservation = yield from _reserve(meter, run, id, call, ways, memo, until=started + patience)
    except BudgetExceeded:
        raise
    except BaseException:
        # Interrupted while the ledger may have been at work: whatever it held, or is about to, goes back.
        yield partial(meter.ledger.release, id, now=meter.clock())
        raise
    _remember_tier(meter, run, tiers, way, state)
    granted = reservation.granted
    return Admission(
        id=id,
        run=run,
        call=call,
        way=way,
        granted=granted,
        output_limit=granted if granted < way.quote.output_limit else None,
        reserved=max((amount for account, amount in reservation.held if account.unit == "usd"), default=0),
        started_at=started,
        deadline=reservation.deadline,
        step=step,
        flags=_shadow_flags(holds, balances, way),
    )


def _reserve(
    meter: Meter,
    run: Run,
    id: str,
    call: ModelCall,
    ways: Sequence[Candidate],
    memo: dict[str, Any],
    *,
    until: float,
) -> Steps[tuple[Candidate, Reservation]]:
    """Try the ways in order. While money that others hold would make a whole answer fit, wait for it before an answer
    is cut short or the call refused."""
    pause = _FIRST_PAUSE
    while True:
        now = meter.clock()
        refusals: list[Refusal] = []
        for way in ways:
            if way.shortened and now < until and any(refusal.waiting_helps for refusal in refusals):
                break
            answer = yield partial(
                meter.ledger.reserve,
                id,
                model_holds(meter.policy, call.attribution, way.quote, now=now, landing=call.landing),
                floor=way.floor,
                ask=way.ask,
                now=now,
                ttl=meter.hold_ttl,
                session=run.session,
                memo=memo,
            )
            if isinstance(answer, Reservation):
                return way, answer
            refusals.append(answer)
        if now >= until or not any(refusal.waiting_helps for refusal in refusals):
            yield from _refuse(meter, run, call, refusals[-1])
        yield Pause(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _refuse(meter: Meter, run: Run, call: ModelCall, refusal: Refusal) -> Steps[None]:
    quote = call.quotes[-1]
    error = from_ledger(refusal, f"a call of {quote.model} with {quote.input_tokens:,} input tokens")
    yield from meter.refused(run, error, call.attribution.get("node", ""))
    raise error


def _remember_tier(meter: Meter, run: Run, tiers: tuple[str, ...], way: Candidate, state: Pressure) -> None:
    if way.quote.tier and not run.held_tier(tiers):
        meter.publish("downgrade", f"{tiers[0]} steps down to {way.quote.model}: {way.reason}", run.session)
    if way.quote.tier or state.relieved:
        run.hold_tier(tiers, way.quote.tier)


def _memo(run: Run, call: ModelCall, step: int | None) -> dict[str, Any]:
    """What a report can say of a call whose worker died before it was recorded."""
    return {
        "kind": "model",
        "run": run.id,
        "step": step,
        "attribution": dict(call.attribution),
        "model_asked": call.quotes[0].model,
    }


def _shadow_flags(holds: Sequence[Hold], balances: Sequence[Balance], way: Candidate) -> tuple[str, ...]:
    """What an enforced budget would have done where these only watch."""
    for hold, balance in zip(holds, balances, strict=True):
        if not hold.enforce:
            needed = hold.base + -(-way.floor * hold.rate // 1000)
            if hold.limit + balance.credit - balance.spent - balance.held - hold.keep < needed:
                return (f"shadow: budget {hold.account.budget!r} would have refused",)
    return ()
