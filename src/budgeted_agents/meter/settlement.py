"""The end of a model call: what it really cost, recorded and booked."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from budgeted_agents.errors import BudgetExceeded, LedgerUnavailable
from budgeted_agents.governor import Candidate, ModelCall
from budgeted_agents.ledgers.units import MODEL_CALLS, REQUESTS, TOKENS, USD
from budgeted_agents.meter.admission import Admission
from budgeted_agents.meter.booking import close
from budgeted_agents.meter.meter import Meter
from budgeted_agents.meter.refusals import for_cut_off
from budgeted_agents.meter.steps import Steps
from budgeted_agents.prices import Price
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.records.providers import provider_name
from budgeted_agents.traces.records.record import Outcome
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


class EndedCall(Struct, frozen=True, gc=False):
    """A model call that has ended.

    Attributes:
        id, session, run: which call, of which conversation and invocation.
        call, way, granted, output_limit, reserved, started_at, step: see ``Admission``.
        ended_at: when it ended, in seconds since the epoch; ``outcome`` how.
        price: of the model that was called.
        cost: nano-USD charged.
        flags: what the record says of it.
        usage: the tokens it used; None if no answer says.
        billed: the model's name by the provider's answer; ``service_tier`` the tier it was served at.
        error: the class of the exception that ended it, if one did.
    """

    id: str
    session: str
    run: str
    call: ModelCall
    way: Candidate
    granted: int
    output_limit: int | None
    reserved: int
    started_at: float
    step: int | None
    ended_at: float
    outcome: Outcome
    price: Price
    cost: int
    flags: tuple[str, ...]
    usage: Usage | None = None
    billed: str = ""
    service_tier: str | None = None
    error: str = ""

    def __str__(self) -> str:
        return f"A call of {self.way.quote.model}"

    def record(self) -> CallRecord:
        """What is to be remembered of it."""
        price, usage, call, way = self.price, self.usage, self.call, self.way
        return CallRecord(
            id=self.id,
            kind="model",
            session=self.session,
            run=self.run,
            started_at=self.started_at,
            ended_at=self.ended_at,
            outcome=self.outcome,
            step=self.step,
            attribution=call.attribution,
            model_asked=call.quotes[0].model,
            model_used=way.quote.model,
            model_billed=self.billed,
            provider=provider_name(price.provider),
            operation=call.operation,
            service_tier=self.service_tier or "",
            region=price.region,
            usage=_counts(usage) if usage else {},
            unit_prices=price.unit_prices(usage.prompt_tokens, self.service_tier) if usage else {},
            price_source=price.source,
            reserved=self.reserved,
            cost=self.cost,
            granted=self.granted,
            output_limit=self.output_limit,
            reason=way.reason,
            flags=self.flags,
            error=self.error,
        )

    def to_json(self) -> dict[str, Any]:
        """The record as the ledger keeps it."""
        return self.record().to_json()


def _counts(usage: Usage) -> dict[str, int]:
    counts = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    return counts | {name: tokens for name in _CLASSES if (tokens := getattr(usage, name))}


def settle(
    meter: Meter,
    admission: Admission,
    usage: Usage,
    price: Price,
    *,
    billed: str = "",
    service_tier: str | None = None,
    flags: tuple[str, ...] = (),
) -> Steps[EndedCall]:
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
        if not admission.call.purpose:  # what the application gets teaches what it is likely to get next
            is_cached = usage.cache_read or usage.cache_write_5m or usage.cache_write_1h
            node, thinking = admission.call.attribution.get("node", ""), usage.reasoning
            if thinking:
                meter.thinking.learn(quote.model, node, thinking, is_cut=answer >= admission.granted)
            run.remember(node, answer - thinking, quote.model, prompt if is_cached else 0)
    if cost > admission.reserved > 0:
        flags += ("overrun",)
    ended = _ended(meter, admission, "settled", price, cost, flags, usage, billed, service_tier)
    actual = {USD: cost, TOKENS: prompt + answer, MODEL_CALLS: 1, REQUESTS: 1}
    yield from close(meter, ended, meter.ledger.settle, admission, actual)
    return ended


def refuse_useless(meter: Meter, admission: Admission) -> Steps[BudgetExceeded | None]:
    """The refusal of a call whose answer, shortened to what the money bought, was cut off before it was of any use;
    noted in the session. None where it was no budget that shortened it, or a landing, which makes do with nothing.
    """
    reservation = admission.reservation
    if admission.output_limit is None or admission.call.landing or reservation is None:
        return None
    enforced = {budget.name for budget in meter.policy.budgets if not budget.shadow}
    binding = [
        balance
        for balance in reservation.balances
        if balance.account.unit in (USD, TOKENS) and balance.account.budget in enforced
    ]
    if not binding:
        return None
    error = for_cut_off(admission.way.quote.model, admission.granted, binding)
    yield from meter.refused(admission.run, error, admission.call.attribution.get("node", ""))
    return error


def fail(meter: Meter, admission: Admission, error: BaseException, price: Price, *, answered: bool) -> Steps[EndedCall]:
    """End a call that brought no complete answer: release it if it was certainly not billed, else presume it.

    ``answered`` says whether part of an answer had come.
    """
    unbilled = meter.billing.billing(error, answered=answered) == "unbilled"
    outcome: Outcome = "released" if unbilled else "presumed"
    # Where no budget counts money none is held, and yet it may have been spent.
    cost = 0 if unbilled else admission.reserved or admission.way.quote.worst_case(admission.granted)
    ended = _ended(meter, admission, outcome, price, cost, error=type(error).__name__)
    yield from close(meter, ended, meter.ledger.release if unbilled else meter.ledger.presume, admission)
    return ended


def cancel(meter: Meter, admission: Admission, price: Price, *, flag: str) -> Steps[EndedCall]:
    """End a call that turned out to need no provider (an answer from a cache): it costs nothing."""
    ended = _ended(meter, admission, "released", price, 0, (flag,))
    yield from close(meter, ended, meter.ledger.release, admission)
    return ended


def _ended(
    meter: Meter,
    admission: Admission,
    outcome: Outcome,
    price: Price,
    cost: int,
    flags: tuple[str, ...] = (),
    usage: Usage | None = None,
    billed: str = "",
    service_tier: str | None = None,
    error: str = "",
) -> EndedCall:
    return EndedCall(
        admission.id,
        admission.run.session,
        admission.run.id,
        admission.call,
        admission.way,
        admission.granted,
        admission.output_limit,
        admission.reserved,
        admission.started_at,
        admission.step,
        meter.clock(),
        outcome,
        price,
        cost,
        admission.flags + flags,
        usage,
        billed,
        service_tier,
        error,
    )


def keep_alive(meter: Meter, admission: Admission) -> Steps[Admission]:
    """Extend the hold of a long stream once half its time is gone; a ledger that is away must not end the stream."""
    now = meter.clock()
    if admission.deadline - now > meter.hold_ttl / 2:
        return admission
    try:
        yield partial(meter.ledger.extend, admission.id, ttl=meter.hold_ttl, now=now)
    except LedgerUnavailable:
        return admission  # to be tried again at the next chunk; a hold that expires meanwhile is settled late
    return replace(admission, deadline=now + meter.hold_ttl)
