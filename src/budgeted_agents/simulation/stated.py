"""Sessions of which only sums are known: whether they would have gone beyond a limit, not at which call."""

from __future__ import annotations

from msgspec.structs import replace

from budgeted_agents.governor import Quote
from budgeted_agents.ledgers import Balance, Hold, Reservation
from budgeted_agents.ledgers.units import MODEL_CALLS, TOKENS, USD, unit_text
from budgeted_agents.meter import Meter, new_id
from budgeted_agents.prices.rows import ATTO_PER_NANO
from budgeted_agents.simulation.order import Timed
from budgeted_agents.simulation.session import Ending, Moment, Session
from budgeted_agents.simulation.tiers import Tariff
from budgeted_agents.traces.audit.verdicts import assess, to_atto
from budgeted_agents.traces.call import TracedCall


def book_stated(meter: Meter, tariff: Tariff, session: Session, timed: Timed) -> None:
    """Book what a trace says of a session in sum, and note the first limit that it goes beyond.

    Work would have ended before that, so the cost afterward is an upper bound, and what is cut a lower one.
    """
    call, outcome, run = timed.call, session.outcome, session.run(timed.call)
    cost = _cost(tariff, timed)
    outcome.is_stated, count = True, max(call.calls, 1)
    outcome.calls += count
    outcome.tokens += call.usage.total_tokens
    if cost is None:
        outcome.unpriced += count
        return
    amounts = {USD: cost, TOKENS: call.usage.total_tokens, MODEL_CALLS: count}
    model = Quote(0, call.model, meter.policy.model_class(call.model), 0, 0, 0, 0, 0)
    terms = meter.plans.of_model(session.attribution(call, run, meter.policy), model, frozenset(), timed.start).terms
    counted = [hold for hold in terms if hold.account.unit in amounts]
    excess = 0
    for hold, balance in zip(counted, _booked(meter, session, timed, counted, amounts), strict=True):
        excess = max(excess, _beyond(meter, session, call, hold, balance, timed.start))
    outcome.cost += cost
    outcome.cost_after += cost - min(excess, cost)
    outcome.cost_cut += min(excess, cost)


def _cost(tariff: Tariff, timed: Timed) -> int | None:
    """Nano-USD by the tokens, else as the trace records it."""
    call, tiers = timed.call, tariff.tiers(timed.call, timed.start)
    if tiers is not None and call.usage.total_tokens:
        return assess(call, tiers.price).cost
    recorded = None if call.recorded_cost is None else to_atto(call.recorded_cost)
    return None if recorded is None else -(-recorded // ATTO_PER_NANO)


def _booked(
    meter: Meter, session: Session, timed: Timed, holds: list[Hold], amounts: dict[str, int]
) -> tuple[Balance, ...]:
    """The balances after it; it is booked whether it fits or not, because nobody knows which part would have."""
    bases = [replace(hold, base=amounts[hold.account.unit], keep=0, enforce=False) for hold in holds]
    id, now = new_id(), meter.clock()
    ledger = meter.ledger
    answer = ledger.reserve(id, bases, floor=0, ask=0, now=now, ttl=meter.hold_ttl, session=session.name)
    assert isinstance(answer, Reservation)  # nothing is enforced
    return ledger.settle(id, {}, now=now).balances


def _beyond(meter: Meter, session: Session, call: TracedCall, hold: Hold, balance: Balance, at: float) -> int:
    """Nano-USD of the session that are beyond a limit that binds."""
    excess = balance.spent - balance.limit
    if excess <= 0:
        return 0
    budget, outcome = meter.policy.by_name[hold.account.budget], session.outcome
    message = f"Budget {budget.name!r} is exceeded in {unit_text(hold.account.unit)} by the session as a whole"
    moment = Moment(0, at, call.model, message)
    if not hold.enforce:
        outcome.watched = outcome.watched or moment
        return 0
    outcome.ended = outcome.ended or Ending(budget.on_exhausted, budget.name, moment)
    return excess if hold.account.unit == USD else 0
