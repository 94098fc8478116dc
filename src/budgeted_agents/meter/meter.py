"""``Meter``: conducts one call, from admission to settlement. The only place that owns the order of steps.

    quote -> pressure -> reserve -> (the adapter calls the model) -> record -> settle

Adapters drive these steps (see ``steps``); they price, decide and count nothing themselves.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from budgeted_agents.budget.policy import Policy
from budgeted_agents.errors import BudgetExceeded, LedgerError
from budgeted_agents.estimate import Margins
from budgeted_agents.governor import (
    Candidate,
    ModelCall,
    Pressure,
    candidates,
    least_output,
    matching,
    model_holds,
    pressure,
    tool_holds,
)
from budgeted_agents.governor.ladder import AS_ASKED
from budgeted_agents.ledgers.contract import Hold, Ledger, Refusal, Reservation, Settlement
from budgeted_agents.meter.events import BudgetEvent, Listener, amount_text, publish
from budgeted_agents.meter.outcomes import BillingTable
from budgeted_agents.meter.refusals import from_ledger
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.steps import Pause, Steps
from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.traces import CallRecord
from budgeted_agents.usage import Usage

HOLD_TTL = 900.0
"""Seconds until a reservation whose worker is silent is presumed spent: half again the usual 600 s request time-out."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05


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


@dataclass(frozen=True, slots=True)
class ToolAdmission:
    """A tool call that may be made; ``counted`` is False if no budget limits the tool."""

    id: str
    run: Run
    tool: str
    attribution: Mapping[str, str]
    started_at: float
    counted: bool
    step: int | None = None


@dataclass(eq=False)
class Meter:
    """Conducts calls under one policy, on one ledger.

    Attributes:
        policy: the budgets.
        ledger: where money is kept.
        prices: what models cost.
        margins: what is learnt of each model's token counts.
        billing: which failures are certainly unbilled.
        listeners: told of every event.
        clock: seconds since the epoch.
        hold_ttl: seconds a silent reservation lasts.
    """

    policy: Policy
    ledger: Ledger
    prices: PriceBook
    margins: Margins = field(default_factory=Margins)
    billing: BillingTable = field(default_factory=BillingTable)
    listeners: Sequence[Listener] = ()
    clock: Callable[[], float] = time.time
    hold_ttl: float = HOLD_TTL
    _unsettled: list[Callable[[], Settlement]] = field(default_factory=list)

    # -- admission ---------------------------------------------------------------------------------------------------

    def admit(self, run: Run, call: ModelCall, *, step: int | None = None) -> Steps[Admission]:
        """Hold money for a model call by the best tier that fits.

        Raises:
            BudgetExceeded: it fits in no way.
        """
        id = new_id()
        started = self.clock()
        tiers = tuple(quote.model for quote in call.quotes)
        holds = self._holds(call, call.quotes[0], started)
        balances = yield partial(self.ledger.balances, [hold.account for hold in holds])
        state = pressure(self.policy, holds, balances)
        budgets = list(matching(self.policy, call.attribution))
        ways = candidates(call, state, held_tier=run.held_tier(tiers), min_output=least_output(budgets))
        patience = max((budget.max_wait for budget in budgets), default=0.0) if run.may_wait else 0.0
        memo = _memo(run, call, step)
        try:
            found = yield from self._reserve(id, call, ways, run, memo, until=started + patience)
        except BaseException as error:
            if not isinstance(error, BudgetExceeded):
                yield partial(self.ledger.release, id, now=self.clock())
            raise
        way, reservation = found
        self._remember_tier(run, tiers, way, state)
        flags = _shadow_flags(holds, balances, way)
        return Admission(
            id=id,
            run=run,
            call=call,
            way=way,
            granted=reservation.granted,
            output_limit=reservation.granted if reservation.granted < way.quote.output_limit else None,
            reserved=max((amount for account, amount in reservation.held if account.unit == "usd"), default=0),
            started_at=started,
            deadline=reservation.deadline,
            step=step,
            flags=flags,
        )

    def _holds(self, call: ModelCall, quote: Any, now: float) -> tuple[Hold, ...]:
        return model_holds(self.policy, call.attribution, quote, now=now, landing=call.landing)

    def _reserve(
        self, id: str, call: ModelCall, ways: Sequence[Candidate], run: Run, memo: dict[str, Any], *, until: float
    ) -> Steps[tuple[Candidate, Reservation]]:
        """Try the ways in order. While money others hold would make an earlier way fit, wait for it before an answer
        is cut short or the call refused."""
        pause = _FIRST_PAUSE
        while True:
            now = self.clock()
            may_wait, refusals = now < until, []
            for way in ways:
                if may_wait and way.floor < way.ask and any(r.waiting_helps for r in refusals) and _shortened(way):
                    break
                answer = yield partial(
                    self.ledger.reserve,
                    id,
                    self._holds(call, way.quote, now),
                    floor=way.floor,
                    ask=way.ask,
                    now=now,
                    ttl=self.hold_ttl,
                    session=run.session,
                    memo=memo,
                )
                if isinstance(answer, Reservation):
                    return way, answer
                refusals.append(answer)
            if not (may_wait and any(refusal.waiting_helps for refusal in refusals)):
                yield from self._refuse(run, call, refusals[-1])
            yield Pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _refuse(self, run: Run, call: ModelCall, refusal: Refusal) -> Steps[None]:
        what = f"a call of {call.quotes[-1].model} with {call.quotes[-1].input_tokens:,} input tokens"
        error = from_ledger(refusal, what)
        yield from self.refused(run, error, call.attribution)
        raise error

    def refused(self, run: Run, error: BudgetExceeded, attribution: Mapping[str, str]) -> Steps[None]:
        """Tell of a refusal and note it in the session."""
        self.publish("refusal", str(error), run, error.budget, error.account, error.unit)
        body = {"kind": "refusal", "message": str(error), "budget": error.budget, "unit": error.unit}
        body |= {"node": attribution.get("node", ""), "run": run.id}
        yield partial(self.ledger.note, run.session, body, now=self.clock())

    def _remember_tier(self, run: Run, tiers: tuple[str, ...], way: Candidate, state: Pressure) -> None:
        if way.quote.tier and not run.held_tier(tiers):
            self.publish("downgrade", f"{tiers[0]} steps down to {way.quote.model}: {way.reason}", run, state.budget)
        if len(tiers) > 1 and (way.quote.tier or state.relieved):
            run.hold_tier(tiers, way.quote.tier)

    # -- settlement --------------------------------------------------------------------------------------------------

    def settle(
        self,
        admission: Admission,
        usage: Usage,
        price: Price,
        *,
        billed: str = "",
        service_tier: str | None = None,
        flags: tuple[str, ...] = (),
    ) -> Steps[CallRecord]:
        """Charge what the call really cost. Never fails: what cannot be booked now is booked with a later call."""
        quote = admission.way.quote
        cost = price.cost(usage, service_tier)
        actual = {"usd": cost, "tokens": usage.total_tokens, "model_calls": 1, "requests": 1}
        record = self._record(admission, "settled", flags, price)
        record = replace(record, usage=_counts(usage), cost=cost, model_billed=billed)
        prompt = usage.prompt_tokens
        if "estimated" not in flags:
            self.margins.learn(quote.model, quote.estimate, prompt)
            admission.run.remember_cache(quote.model, prompt if usage.cache_read or usage.cache_write_5m else 0)
        yield from self._close(record, partial(self.ledger.settle, admission.id, actual, now=record.ended_at))
        return record

    def fail(self, admission: Admission, error: BaseException, price: Price, *, answered: bool) -> Steps[CallRecord]:
        """End a call that brought no complete answer: release it if it was certainly not billed, else presume it."""
        unbilled = self.billing.billing(error, answered=answered) == "unbilled"
        record = self._record(admission, "released" if unbilled else "presumed", (), price)
        record = replace(record, error=type(error).__name__, cost=0 if unbilled else admission.reserved)
        verb = self.ledger.release if unbilled else self.ledger.presume
        yield from self._close(record, partial(verb, admission.id, now=record.ended_at))
        return record

    def cancel(self, admission: Admission, price: Price, *, flag: str) -> Steps[CallRecord]:
        """End a call that turned out to need no provider (an answer from a cache): it costs nothing."""
        record = replace(self._record(admission, "released", (flag,), price), cost=0)
        yield from self._close(record, partial(self.ledger.release, admission.id, now=record.ended_at))
        return record

    def keep_alive(self, admission: Admission) -> Steps[Admission]:
        """Extend the hold of a long stream once half its time is gone."""
        now = self.clock()
        if admission.deadline - now > self.hold_ttl / 2:
            return admission
        yield partial(self.ledger.extend, admission.id, ttl=self.hold_ttl, now=now)
        return replace(admission, deadline=now + self.hold_ttl)

    def _record(self, admission: Admission, outcome: Any, flags: tuple[str, ...], price: Price) -> CallRecord:
        quote, call = admission.way.quote, admission.call
        return CallRecord(
            id=admission.id,
            kind="model",
            session=admission.run.session,
            run=admission.run.id,
            step=admission.step,
            started_at=admission.started_at,
            ended_at=self.clock(),
            outcome=outcome,
            attribution=call.attribution,
            model_asked=call.quotes[0].model,
            model_used=quote.model,
            unit_prices=price.unit_prices(),
            price_source=price.source,
            reserved=admission.reserved,
            granted=admission.granted,
            output_limit=admission.output_limit,
            reason=admission.way.reason,
            flags=admission.flags + flags,
        )

    def _close(self, record: CallRecord, verb: Callable[..., Settlement]) -> Steps[None]:
        book = partial(verb, record=record.to_json())
        try:
            while self._unsettled:
                yield self._unsettled[-1]
                self._unsettled.pop()
            settlement = yield book
        except LedgerError as error:
            # The answer is paid for and must reach the user. The hold stays, so the cap holds; the truth is booked
            # with the next call, or the hold is presumed spent when it expires.
            self._unsettled.append(book)
            self.publish("unsettled", f"A call could not be booked yet and stays held: {error}", None)
        else:
            self._announce(settlement, record)

    def _announce(self, settlement: Settlement | None, record: CallRecord) -> None:
        if settlement is None:
            return
        limits = {budget.name: budget.alert_at for budget in self.policy.budgets}
        for (account, charged), balance in zip(settlement.charged, settlement.balances, strict=True):
            before, limit = balance.spent - charged, balance.limit
            for kind, share in (("alert", limits.get(account.budget, 1.0)), ("exhausted", 1.0)):
                if before < share * limit <= balance.spent:
                    text = f"{amount_text(account.unit, balance.spent)} of {amount_text(account.unit, limit)}"
                    message = f"Budget {account.budget!r} has spent {text} ({account.key})"
                    self.publish(kind, message, record.session, account.budget, account.key, account.unit,
                                 balance.spent, limit)
        for account, excess in settlement.overrun:
            message = f"A call of {record.model_used} cost {amount_text(account.unit, excess)} more than was reserved"
            self.publish("overrun", message, record.session, account.budget, account.key, account.unit)

    # -- tools -------------------------------------------------------------------------------------------------------

    def admit_tool(
        self, run: Run, tool: str, attribution: Mapping[str, str], *, step: int | None = None
    ) -> Steps[ToolAdmission]:
        """Count a tool call before it is made.

        Raises:
            BudgetExceeded: a limit on tool calls has been reached.
        """
        id, now = new_id(), self.clock()
        holds = tool_holds(self.policy, attribution, tool, now=now)
        if holds:
            memo = {"kind": "tool", "tool": tool, "run": run.id, "step": step, "attribution": dict(attribution)}
            answer = yield partial(
                self.ledger.reserve,
                id, holds, floor=0, ask=0, now=now, ttl=self.hold_ttl, session=run.session, memo=memo,
            )
            if isinstance(answer, Refusal):
                error = from_ledger(answer, f"another call of tool {tool!r}")
                yield from self.refused(run, error, attribution)
                raise error
        return ToolAdmission(id, run, tool, attribution, now, bool(holds), step)

    def cancel_tool(self, admission: ToolAdmission) -> Steps[None]:
        """Give back what was held for a tool that was not called after all."""
        if admission.counted:
            yield partial(self.ledger.release, admission.id, now=self.clock())

    def settle_tool(self, admission: ToolAdmission, error: BaseException | None = None) -> Steps[CallRecord]:
        """Record the end of a tool call; a call that failed was made all the same."""
        record = CallRecord(
            id=admission.id,
            kind="tool",
            session=admission.run.session,
            run=admission.run.id,
            step=admission.step,
            started_at=admission.started_at,
            ended_at=self.clock(),
            outcome="settled",
            attribution=admission.attribution,
            tool=admission.tool,
            error=type(error).__name__ if error else "",
        )
        if admission.counted:
            yield from self._close(record, partial(self.ledger.settle, admission.id, {}, now=record.ended_at))
        return record

    def publish(
        self, kind: Any, message: str, run: Run | str | None, budget: str = "", account: str = "", unit: str = "",
        spent: int = 0, limit: int = 0,
    ) -> None:
        session = run.session if isinstance(run, Run) else run or ""
        publish(BudgetEvent(kind, message, session, budget, account, unit, spent, limit), self.listeners)


def new_id() -> str:
    """An id for an attempt: random, so that no coordination is needed and no id is ever used twice."""
    return uuid.uuid4().hex


def _shortened(way: Candidate) -> bool:
    from budgeted_agents.governor.ladder import CLAMPED

    return way.reason == CLAMPED


def _memo(run: Run, call: ModelCall, step: int | None) -> dict[str, Any]:
    """What a report can say of a call whose worker died before it was recorded."""
    return {
        "kind": "model",
        "run": run.id,
        "step": step,
        "attribution": dict(call.attribution),
        "model_asked": call.quotes[0].model,
    }


def _counts(usage: Usage) -> dict[str, int]:
    counts = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    classes = ("cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "reasoning", "audio_output")
    return counts | {name: getattr(usage, name) for name in classes if getattr(usage, name)}


def _shadow_flags(holds: Sequence[Hold], balances: Sequence[Any], way: Candidate) -> tuple[str, ...]:
    """What an enforced budget would have done where these only watch."""
    for hold, balance in zip(holds, balances, strict=True):
        if not hold.enforce:
            needed = hold.base + -(-way.floor * hold.rate // 1000)
            if hold.limit + balance.credit - balance.spent - balance.held - hold.keep < needed:
                return (f"shadow: budget {hold.account.budget!r} would have refused",)
    return ()


__all__ = ["AS_ASKED", "Admission", "HOLD_TTL", "Meter", "ToolAdmission", "new_id"]
