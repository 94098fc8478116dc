"""The end of a model call: what it really cost, recorded and booked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from budgeted_agents.errors import LedgerUnavailable
from budgeted_agents.meter.admission import Admission
from budgeted_agents.meter.booking import close
from budgeted_agents.meter.meter import Meter
from budgeted_agents.meter.steps import Steps
from budgeted_agents.prices import Price
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.providers import provider_name
from budgeted_agents.traces.record import Outcome
from budgeted_agents.usage import Usage

_CLASSES = (
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "image_input",
    "reasoning",
    "audio_output",
    "image_output",
    "web_searches",
)
"""Token classes a record names besides all input and all output."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    quote, run = admission.way.quote, admission.run
    prompt, answer = usage.prompt_tokens, usage.completion_tokens
    cost = price.cost(usage, service_tier)
    if "estimated" not in flags:
        meter.margins.learn(quote.model, quote.estimate, prompt)
        run.remember_answer(admission.call.attribution.get("node", ""), answer)
        is_cached = usage.cache_read or usage.cache_write_5m or usage.cache_write_1h
        run.remember_cache(quote.model, prompt if is_cached else 0)
    if cost > admission.reserved > 0:
        flags += ("overrun",)
    record = _record(
        meter,
        admission,
        "settled",
        price,
        flags,
        cost,
        usage=_counts(usage, prompt, answer),
        unit_prices=price.unit_prices(prompt, service_tier),
        billed=billed,
        service_tier=service_tier or "",
    )
    actual = {"usd": cost, "tokens": prompt + answer, "model_calls": 1, "requests": 1}
    yield from close(meter, record, meter.ledger.settle, admission, actual)
    return record


def fail(
    meter: Meter, admission: Admission, error: BaseException, price: Price, *, answered: bool
) -> Steps[CallRecord]:
    """End a call that brought no complete answer: release it if it was certainly not billed, else presume it.

    ``answered`` says whether part of an answer had come.
    """
    unbilled = meter.billing.billing(error, answered=answered) == "unbilled"
    outcome: Outcome = "released" if unbilled else "presumed"
    cost = 0 if unbilled else admission.reserved
    record = _record(meter, admission, outcome, price, (), cost, error=type(error).__name__)
    yield from close(meter, record, meter.ledger.release if unbilled else meter.ledger.presume, admission)
    return record


def cancel(meter: Meter, admission: Admission, price: Price, *, flag: str) -> Steps[CallRecord]:
    """End a call that turned out to need no provider (an answer from a cache): it costs nothing."""
    record = _record(meter, admission, "released", price, (flag,), 0)
    yield from close(meter, record, meter.ledger.release, admission)
    return record


def keep_alive(meter: Meter, admission: Admission) -> Steps[Admission]:
    """Extend the hold of a long stream once half its time is gone; a ledger that is away must not end the stream."""
    now = meter.clock()
    if admission.deadline - now > meter.hold_ttl / 2:
        return admission
    try:
        yield partial(meter.ledger.extend, admission.id, ttl=meter.hold_ttl, now=now)
    except LedgerUnavailable:
        return admission  # to be tried again at the next chunk; a hold that expires meanwhile is settled late
    return admission._replace(deadline=now + meter.hold_ttl)


def _record(
    meter: Meter,
    admission: Admission,
    outcome: Outcome,
    price: Price,
    flags: tuple[str, ...],
    cost: int,
    *,
    usage: Mapping[str, int] = _NOTHING,
    unit_prices: Mapping[str, str] = _NOTHING,
    billed: str = "",
    error: str = "",
    service_tier: str = "",
) -> CallRecord:
    id, run, call, way, granted, output_limit, reserved, started_at, _, step, admitted, _, _ = admission
    return CallRecord(
        id=id,
        kind="model",
        session=run.session,
        run=run.id,
        started_at=started_at,
        ended_at=meter.clock(),
        outcome=outcome,
        step=step,
        attribution=call.attribution,
        model_asked=call.quotes[0].model,
        model_used=way.quote.model,
        model_billed=billed,
        provider=provider_name(price.provider),
        operation=call.operation,
        service_tier=service_tier,
        usage=usage,
        unit_prices=unit_prices,
        price_source=price.source,
        reserved=reserved,
        cost=cost,
        granted=granted,
        output_limit=output_limit,
        reason=way.reason,
        flags=admitted + flags,
        error=error,
    )


def _counts(usage: Usage, prompt: int, answer: int) -> dict[str, int]:
    counts = {"input_tokens": prompt, "output_tokens": answer}
    is_plain = usage.input == prompt and usage.output == answer and not usage.web_searches
    if is_plain:  # as most calls are
        return counts
    return counts | {name: tokens for name in _CLASSES if (tokens := getattr(usage, name))}
