"""The end of a model call: what it really cost, recorded and booked. Never fails: what cannot be booked now is booked
with a later call, because the answer is paid for and must reach the user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from budgeted_agents.errors import LedgerError
from budgeted_agents.ledgers.contract import Settlement
from budgeted_agents.meter.admission import Admission
from budgeted_agents.meter.events import EventKind, amount_text
from budgeted_agents.meter.meter import Meter
from budgeted_agents.meter.steps import Steps
from budgeted_agents.prices import Price
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.record import Outcome
from budgeted_agents.usage import Usage

_CLASSES = ("cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "reasoning", "audio_output")
"""Token classes a record names besides all input and all output."""


def settle(
    meter: Meter,
    admission: Admission,
    usage: Usage,
    price: Price,
    *,
    billed: str = "",
    service_tier: str | None = None,
    flags: tuple[str, ...] = (),
) -> Steps[CallRecord]:
    """Charge what the call really cost.

    Args:
        meter: what the call is conducted with.
        admission: the call.
        usage: the tokens it used.
        price: the price of the model that was called.
        billed: the model's name by the provider's answer.
        service_tier: the tier it was served at.
        flags: what the record should say, e.g. that the usage is ``estimated``.
    """
    quote, prompt = admission.way.quote, usage.prompt_tokens
    cost = price.cost(usage, service_tier)
    if "estimated" not in flags:
        meter.margins.learn(quote.model, quote.estimate, prompt)
        admission.run.remember_answer(admission.call.attribution.get("node", ""), usage.completion_tokens)
        admission.run.remember_cache(quote.model, prompt if usage.cache_read or usage.cache_write_5m else 0)
    record = replace(
        _record(meter, admission, "settled", price, flags),
        usage=_counts(usage),
        unit_prices=price.unit_prices(prompt, service_tier),
        cost=cost,
        model_billed=billed,
    )
    actual = {"usd": cost, "tokens": usage.total_tokens, "model_calls": 1, "requests": 1}
    yield from close(meter, record, partial(meter.ledger.settle, admission.id, actual, now=record.ended_at))
    return record


def fail(
    meter: Meter, admission: Admission, error: BaseException, price: Price, *, answered: bool
) -> Steps[CallRecord]:
    """End a call that brought no complete answer: release it if it was certainly not billed, else presume it.

    ``answered`` says whether part of an answer had come.
    """
    unbilled = meter.billing.billing(error, answered=answered) == "unbilled"
    record = _record(meter, admission, "released" if unbilled else "presumed", price)
    record = replace(record, error=type(error).__name__, cost=0 if unbilled else admission.reserved)
    verb = meter.ledger.release if unbilled else meter.ledger.presume
    yield from close(meter, record, partial(verb, admission.id, now=record.ended_at))
    return record


def cancel(meter: Meter, admission: Admission, price: Price, *, flag: str) -> Steps[CallRecord]:
    """End a call that turned out to need no provider (an answer from a cache): it costs nothing."""
    record = _record(meter, admission, "released", price, (flag,))
    yield from close(meter, record, partial(meter.ledger.release, admission.id, now=record.ended_at))
    return record


def keep_alive(meter: Meter, admission: Admission) -> Steps[Admission]:
    """Extend the hold of a long stream once half its time is gone."""
    now = meter.clock()
    if admission.deadline - now > meter.hold_ttl / 2:
        return admission
    yield partial(meter.ledger.extend, admission.id, ttl=meter.hold_ttl, now=now)
    return replace(admission, deadline=now + meter.hold_ttl)


def close(meter: Meter, record: CallRecord, verb: Callable[..., Settlement | None]) -> Steps[None]:
    """Book a record, and before it what could not be booked earlier."""
    book = partial(verb, record=record.to_json())
    try:
        while meter.unsettled:
            yield meter.unsettled[0]
            meter.unsettled.pop(0)
        settlement = yield book
    except LedgerError as error:
        # The hold stays, so the cap holds; if the truth is never booked, the hold is presumed spent when it expires.
        meter.unsettled.append(book)
        meter.publish("unsettled", f"A call could not be booked yet and stays held: {error}", record.session)
    else:
        if settlement is not None:
            _announce(meter, settlement, record)


def _record(
    meter: Meter, admission: Admission, outcome: Outcome, price: Price, flags: tuple[str, ...] = ()
) -> CallRecord:
    quote, run = admission.way.quote, admission.run
    return CallRecord(
        id=admission.id,
        kind="model",
        session=run.session,
        run=run.id,
        step=admission.step,
        started_at=admission.started_at,
        ended_at=meter.clock(),
        outcome=outcome,
        attribution=admission.call.attribution,
        model_asked=admission.call.quotes[0].model,
        model_used=quote.model,
        price_source=price.source,
        reserved=admission.reserved,
        granted=admission.granted,
        output_limit=admission.output_limit,
        reason=admission.way.reason,
        flags=admission.flags + flags,
    )


def _announce(meter: Meter, settlement: Settlement, record: CallRecord) -> None:
    """Alert where this very settlement crossed a threshold: that happens once for each account and window, whatever
    the number of processes."""
    alert_at = {budget.name: budget.alert_at for budget in meter.policy.budgets}
    for (account, charged), balance in zip(settlement.charged, settlement.balances, strict=True):
        before, limit = balance.spent - charged, balance.limit
        thresholds: tuple[tuple[EventKind, float], ...] = (("alert", alert_at.get(account.budget, 1)), ("exhausted", 1))
        for kind, share in thresholds:
            if before < share * limit <= balance.spent:
                text = f"{amount_text(account.unit, balance.spent)} of {amount_text(account.unit, limit)}"
                meter.publish(
                    kind, f"Budget {account.budget!r} has spent {text} ({account.key})", record.session, balance
                )
    excess = dict(settlement.overrun)
    for balance in settlement.balances:
        if over := excess.get(balance.account):
            message = f"A call of {record.model_used} cost {amount_text(balance.account.unit, over)} more than reserved"
            meter.publish("overrun", message, record.session, balance)


def _counts(usage: Usage) -> dict[str, int]:
    counts = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    return counts | {name: tokens for name in _CLASSES if (tokens := getattr(usage, name))}
