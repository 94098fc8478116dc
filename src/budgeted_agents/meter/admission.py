"""Admission of a model call: from what it would cost to money held for it, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from budgeted_agents.budget.attribution import Attribution
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import CALM, Candidate, ModelCall, Plan, Pressure, candidates, minute_of, pressure
from budgeted_agents.ledgers import rules
from budgeted_agents.ledgers.contract import Hold, Refusal, Reservation
from budgeted_agents.ledgers.units import REQUESTS, USD
from budgeted_agents.meter.booking import announce_presumed, catch_up, give_back
from budgeted_agents.meter.meter import Meter, new_id
from budgeted_agents.meter.recording import parent_of
from budgeted_agents.meter.refusals import from_ledger
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.steps import Pause, Steps
from budgeted_agents.traces.records.content import Content

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
"""Seconds between looks at a ledger while waiting for money that calls in flight may give back."""


class Admission(Struct, frozen=True):
    """A call that may be made.

    Attributes:
        id: the attempt's id.
        call: what was admitted; ``way`` how: the tier, and why.
        granted: output tokens granted. ``output_limit`` is the limit to set on the call, None to leave it alone.
        reserved: nano-USD held in the dearest of its accounts.
        deadline: when the hold expires.
        flags: what the record should say of it.
        reservation: what the ledger answered; ``parent`` the span the call is made in.
        content: what the call says, if some recorder is to keep it.
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
    reservation: Reservation | None = None
    parent: str = ""
    content: Content | None = None


def admit(
    meter: Meter, run: Run, call: ModelCall, *, step: int | None = None, may_wait: Callable[[], bool] = lambda: True
) -> Steps[Admission]:
    """Hold money for a model call by the best tier that fits.

    Args:
        meter: what the call is conducted with.
        run: the invocation it belongs to.
        call: the call.
        step: the graph's step it is made in.
        may_wait: whether it may wait here for money that calls in flight hold and may give back.

    Raises:
        BudgetExceeded: it fits in no way; the refusal has been noted in the session.
    """
    attempt = _Attempt(new_id(), run, call, step, meter.clock(), may_wait)
    if meter.unsettled:  # what is still held for calls that have ended would count against this one
        yield from catch_up(meter)
    # With one model there is nothing to step down to, so nothing to learn from the pressure.
    tiers = tuple([quote.model for quote in call.quotes]) if len(call.quotes) > 1 else ()
    state = (yield from _pressure(meter, attempt)) if tiers else CALM
    held_tier = run.held_tier(tiers) if tiers else 0
    least_output = _least_output(meter, attempt) if call.clampable else 1  # else nothing will be shortened
    ways = candidates(call, state, held_tier=held_tier, min_output=least_output)
    try:
        admission = yield from _reserve(meter, attempt, ways)
        if tiers:
            _remember_tier(meter, run, tiers, admission.way, state)
        return admission
    except BudgetExceeded:
        raise
    except BaseException:
        # Interrupted while the ledger may have been at work: whatever it held, or is about to, goes back.
        yield from give_back(meter, attempt.id, run.session)
        raise


class _Attempt(Struct, frozen=True):
    """What stays the same while the ways to make a call are tried."""

    id: str
    run: Run
    call: ModelCall
    step: int | None
    started_at: float
    may_wait: Callable[[], bool]

    def wait(self, plan: Plan, refusal: Refusal, now: float) -> float | None:
        """Seconds in which waiting may turn this refusal into money; None if the budget that binds waits no longer."""
        if not (self.run.may_wait and self.may_wait()):
            return None
        account = refusal.binding.account
        left = self.started_at + plan.patience[account.budget] - now
        if refusal.waiting_helps:
            return left if left > 0 else None
        if account.unit != REQUESTS:
            return None
        next_minute = minute_of(now).end - now
        return next_minute if next_minute <= left else None


class _Opening(Struct, frozen=True, gc=False):
    """What a report can say of a call whose worker died before it was recorded."""

    run: str
    step: int | None
    attribution: Attribution
    model_asked: str
    model_used: str

    def to_json(self) -> dict[str, Any]:
        return {"kind": "model", **asdict(self), "attribution": dict(self.attribution)}


def _least_output(meter: Meter, attempt: _Attempt) -> int:
    """The shortest answer that all budgets find worth paying for, whichever tier gives it."""
    call, now = attempt.call, attempt.started_at
    return max([meter.plans.of_model(call.attribution, quote, call.landing, now).least_output for quote in call.quotes])


def _pressure(meter: Meter, attempt: _Attempt) -> Steps[Pressure]:
    """The pressure on the accounts of the tier that was asked for."""
    call = attempt.call
    holds = meter.plans.of_model(call.attribution, call.quotes[0], call.landing, attempt.started_at).terms
    balances = yield partial(meter.ledger.balances, [hold.account for hold in holds])
    return pressure(meter.policy, holds, balances)


def _reserve(meter: Meter, attempt: _Attempt, ways: Sequence[Candidate]) -> Steps[Admission]:
    """Try the ways in order. While money that others hold would make a whole answer fit, or the next minute has room
    for it, wait before an answer is cut short or the call refused."""
    run, call = attempt.run, attempt.call
    now, pause = attempt.started_at, _FIRST_PAUSE
    while True:
        waits: list[float] = []
        for way in ways:
            if way.shortened and waits:
                break
            plan = meter.plans.of_model(call.attribution, way.quote, call.landing, now)
            holds = plan.holds(way.quote, way.floor if call.purpose else 0)
            answer = yield partial(
                meter.ledger.reserve,
                attempt.id,
                holds,
                floor=way.floor,
                ask=way.ask,
                now=now,
                ttl=meter.hold_ttl,
                session=run.session,
                memo=_Opening(run.id, attempt.step, call.attribution, call.quotes[0].model, way.quote.model),
            )
            if answer.presumed:
                announce_presumed(meter, answer.presumed)
            if isinstance(answer, Reservation):
                missed = _missed(way, holds, answer) if plan.watches else ""
                return _admission(meter, attempt, way, missed, answer)
            refusal, refused, wait = answer, way, attempt.wait(plan, answer, now)
            if wait is not None:
                waits.append(min(wait, pause) if refusal.waiting_helps else wait)
        if not waits:
            yield from _refuse(meter, attempt, refused, refusal)
        yield Pause(min(waits))
        now, pause = meter.clock(), min(pause * 2, _LONGEST_PAUSE)


def _admission(meter: Meter, attempt: _Attempt, way: Candidate, missed: str, reservation: Reservation) -> Admission:
    """What was granted; ``missed`` names a budget that would have refused it if it did not only watch."""
    granted, reserved = reservation.granted, 0
    for account, amount in reservation.held:
        if account.unit == USD and amount > reserved:
            reserved = amount
    if missed:
        message = f"Budget {missed!r} would have refused a call of {way.quote.model}"
        meter.publish("shadow", message, attempt.run.session, run=attempt.run.id)
    return Admission(
        attempt.id,
        attempt.run,
        attempt.call,
        way,
        granted,
        granted if granted < way.quote.output_limit else None,
        reserved,
        attempt.started_at,
        reservation.deadline,
        attempt.step,
        _flags(attempt.call, missed) if missed or attempt.call.purpose else (),
        reservation,
        parent_of(meter.recorders) if meter.recorders else "",
    )


def _flags(call: ModelCall, missed: str) -> tuple[str, ...]:
    """What the record says of a call from the beginning."""
    return tuple(filter(None, (call.purpose, missed and f"shadow: budget {missed!r} would have refused")))


def _missed(way: Candidate, holds: Sequence[Hold], reservation: Reservation) -> str:
    """The first budget that only watches and would have refused this way if it were enforced; else empty."""
    for hold, (_, held), balance in zip(holds, reservation.held, reservation.balances, strict=True):
        if not hold.enforce and balance.available + held - hold.keep < rules.amount(hold, way.floor):
            return hold.account.budget
    return ""


def _refuse(meter: Meter, attempt: _Attempt, way: Candidate, refusal: Refusal) -> Steps[None]:
    call, quote = attempt.call, way.quote
    what = f"{call.purpose} by" if call.purpose else "a call of"
    error = from_ledger(refusal, f"{what} {quote.model} with {quote.input_tokens:,} input tokens")
    yield from meter.refused(attempt.run, error, call.attribution.get("node", ""))
    raise error


def _remember_tier(meter: Meter, run: Run, tiers: tuple[str, ...], way: Candidate, state: Pressure) -> None:
    if way.quote.tier and not run.held_tier(tiers):
        message = f"{tiers[0]} steps down to {way.quote.model}: {way.reason}"
        meter.publish("downgrade", message, run.session, run=run.id)
    if way.quote.tier or state.relieved:
        run.hold_tier(tiers, way.quote.tier)
