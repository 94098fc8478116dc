"""Admission of a model call: from what it would cost to money held for it, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from budgeted_agents.budget import WindowKind, window_at
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import (
    Candidate,
    ModelCall,
    Pressure,
    candidates,
    governing,
    least_output,
    model_holds,
    pressure,
)
from budgeted_agents.ledgers.contract import Hold, Refusal, Reservation
from budgeted_agents.meter.booking import catch_up, give_back
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


def admit(
    meter: Meter, run: Run, call: ModelCall, *, step: int | None = None, patient: bool = True
) -> Steps[Admission]:
    """Hold money for a model call by the best tier that fits.

    Args:
        meter: what the call is conducted with.
        run: the invocation it belongs to.
        call: the call.
        step: the graph's step it is made in.
        patient: whether it may wait for money that calls in flight hold and may give back.

    Raises:
        BudgetExceeded: it fits in no way; the refusal has been noted in the session.
    """
    id, started = new_id(), meter.clock()
    tiers = tuple(quote.model for quote in call.quotes)
    budgets = governing(meter.policy, call)
    patience = {budget.name: budget.max_wait for budget in budgets} if patient and run.may_wait else {}
    yield from catch_up(meter)  # what is still held for calls that have ended would count against this one
    # With one model there is nothing to step down to, so nothing to learn from the pressure.
    state = (yield from _pressure(meter, call, started)) if len(tiers) > 1 else Pressure()
    ways = candidates(call, state, held_tier=run.held_tier(tiers), min_output=least_output(budgets))
    try:
        admission = yield from _reserve(meter, _Attempt(id, run, call, step, started, patience), ways)
        _remember_tier(meter, run, tiers, admission.way, state)
        return admission
    except BudgetExceeded:
        raise
    except BaseException:
        # Interrupted while the ledger may have been at work: whatever it held, or is about to, goes back.
        yield from give_back(meter, id, run.session)
        raise


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What stays the same while the ways to make a call are tried. ``patience``: seconds to wait, by budget."""

    id: str
    run: Run
    call: ModelCall
    step: int | None
    started_at: float
    patience: Mapping[str, float]

    def memo(self, way: Candidate) -> dict[str, Any]:
        """What a report can say of a call whose worker died before it was recorded."""
        return {
            "kind": "model",
            "run": self.run.id,
            "step": self.step,
            "attribution": dict(self.call.attribution),
            "model_asked": self.call.quotes[0].model,
            "model_used": way.quote.model,
        }

    def wait(self, refusal: Refusal, now: float) -> float | None:
        """Seconds in which waiting may turn this refusal into money; None if the budget that binds waits no longer."""
        account = refusal.binding.account
        left = self.started_at + self.patience.get(account.budget, 0.0) - now
        if refusal.waiting_helps:
            return left if left > 0 else None
        if account.unit != "requests":
            return None
        next_minute = window_at(WindowKind.MINUTE, "UTC", now).end - now
        return next_minute if next_minute <= left else None


def _pressure(meter: Meter, call: ModelCall, now: float) -> Steps[Pressure]:
    """The pressure on the accounts of the tier that was asked for."""
    holds = model_holds(meter.policy, call.attribution, call.quotes[0], now=now, landing=call.landing)
    balances = yield partial(meter.ledger.balances, [hold.account for hold in holds])
    return pressure(meter.policy, holds, balances)


def _reserve(meter: Meter, attempt: _Attempt, ways: Sequence[Candidate]) -> Steps[Admission]:
    """Try the ways in order. While money that others hold would make a whole answer fit, or the next minute has room
    for it, wait before an answer is cut short or the call refused."""
    pause = _FIRST_PAUSE
    while True:
        now = meter.clock()
        waits: list[float] = []
        for way in ways:
            if way.shortened and waits:
                break
            holds = model_holds(
                meter.policy, attempt.call.attribution, way.quote, now=now, landing=attempt.call.landing
            )
            reserve = partial(meter.ledger.reserve, attempt.id, holds, floor=way.floor, ask=way.ask, now=now)
            answer = yield partial(reserve, ttl=meter.hold_ttl, session=attempt.run.session, memo=attempt.memo(way))
            if isinstance(answer, Reservation):
                return _admission(meter, attempt, way, holds, answer)
            refusal, refused, wait = answer, way, attempt.wait(answer, now)
            if wait is not None:
                waits.append(min(wait, pause) if refusal.waiting_helps else wait)
        if not waits:
            yield from _refuse(meter, attempt, refused, refusal)
        yield Pause(min(waits))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _admission(
    meter: Meter, attempt: _Attempt, way: Candidate, holds: Sequence[Hold], reservation: Reservation
) -> Admission:
    granted = reservation.granted
    missed = _missed(way, holds, reservation)
    if missed:
        meter.publish(
            "shadow", f"Budget {missed!r} would have refused a call of {way.quote.model}", attempt.run.session
        )
    return Admission(
        id=attempt.id,
        run=attempt.run,
        call=attempt.call,
        way=way,
        granted=granted,
        output_limit=granted if granted < way.quote.output_limit else None,
        reserved=max((amount for account, amount in reservation.held if account.unit == "usd"), default=0),
        started_at=attempt.started_at,
        deadline=reservation.deadline,
        step=attempt.step,
        flags=(f"shadow: budget {missed!r} would have refused",) if missed else (),
    )


def _missed(way: Candidate, holds: Sequence[Hold], reservation: Reservation) -> str:
    """The first budget that only watches and would have refused this way if it were enforced; else empty."""
    for hold, (_, held), balance in zip(holds, reservation.held, reservation.balances, strict=True):
        needed = hold.base - (-way.floor * hold.rate // 1000)
        if not hold.enforce and balance.available + held - hold.keep < needed:
            return hold.account.budget
    return ""


def _refuse(meter: Meter, attempt: _Attempt, way: Candidate, refusal: Refusal) -> Steps[None]:
    error = from_ledger(refusal, f"a call of {way.quote.model} with {way.quote.input_tokens:,} input tokens")
    yield from meter.refused(attempt.run, error, attempt.call.attribution.get("node", ""))
    raise error


def _remember_tier(meter: Meter, run: Run, tiers: tuple[str, ...], way: Candidate, state: Pressure) -> None:
    if way.quote.tier and not run.held_tier(tiers):
        meter.publish("downgrade", f"{tiers[0]} steps down to {way.quote.model}: {way.reason}", run.session)
    if way.quote.tier or state.relieved:
        run.hold_tier(tiers, way.quote.tier)
