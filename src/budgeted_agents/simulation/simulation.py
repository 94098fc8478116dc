"""``Simulation``: recorded calls under one policy, conducted by the meter itself on a clock of their own.

A call is admitted when it began in the recording and settled when it ended, so what was held at a time is what a live
ledger would have held. Nothing here decides: ways, holds, waiting, refusals, alerts are the meter's, the governor's and
the ledger's own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

from budgeted_agents.budget import Policy
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import context_limit, matching
from budgeted_agents.ledgers import MemoryLedger
from budgeted_agents.meter import (
    Admission,
    BudgetEvent,
    Meter,
    Run,
    Steps,
    ToolAdmission,
    admit,
    admit_tool,
    cancel,
    drive,
    refuse_useless,
    settle,
    settle_tool,
    until_pause,
)
from budgeted_agents.prices import PriceBook, free_price
from budgeted_agents.simulation.order import Timed
from budgeted_agents.simulation.session import Moment, Session, name_of
from budgeted_agents.simulation.stated import book_stated
from budgeted_agents.simulation.tiers import (
    Tariff,
    Tier,
    Tiers,
    is_without_usage,
    model_call,
    moved,
    restored,
    shortened,
    was_free,
)
from budgeted_agents.traces.call import CLIENT_CACHE_HIT, ESTIMATED, SYNTHETIC, TracedCall

_MOST_ENTRIES = 2_000
"""Calls that the ledger remembers; a simulation asks it for balances only."""

_BEFORE_OTHERS, _AFTER_OTHERS = 0, 1
"""At one moment calls end before others are looked at again, so that what they give back is there."""


@dataclass(frozen=True, slots=True)
class _Played:
    """A recorded model call while it is played again: whose it is, what it cost, and its place in its session."""

    session: Session
    run: Run
    timed: Timed
    tiers: Tiers
    cost: int
    place: int

    def moment(self, now: float, message: str = "") -> Moment:
        return Moment(self.place, now, self.tiers.models[self.tiers.recorded].name, message)


class Simulation:
    """One policy over recorded calls, which have to come in the order of time.

    Args:
        policy: the budgets.
        tariff: prices, and the models to step down to.
        output_limit: the output limit that each call asks for, in tokens; None for its model's longest answer.
    """

    def __init__(self, policy: Policy, tariff: Tariff, output_limit: int | None = None) -> None:
        self.sessions: dict[str, Session] = {}
        self._policy = policy
        self._tariff = tariff
        self._output_limit = output_limit
        self._counts_money = any(budget.usd is not None for budget in policy.budgets)
        self._now = 0.0
        self._ledger = MemoryLedger(entries=_MOST_ENTRIES)
        self._meter = Meter(
            policy, self._ledger, PriceBook(), listeners=(self._hear,), clock=lambda: self._now, logs=False
        )
        self._events: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = count()
        self._waiting: set[Steps[Admission]] = set()
        self._speaker = Moment(0, 0.0, "", "")
        self._overran = False

    def take(self, timed: Timed) -> None:
        """The next call."""
        call = timed.call
        self._pass_time(timed.start)
        session = self.sessions.get(name_of(call.session))
        if session is None:
            session = Session.of(call)
            self.sessions[session.name] = session
        session.outcome.is_timeless |= not timed.start
        if call.kind == "tool":
            self._begin_tool(session, call, call.tool, timed.end)
        elif call.kind == "statement":
            session.statements.append(timed)
        elif SYNTHETIC not in call.flags:
            self._begin(session, timed)

    def finish(self) -> None:
        """Let everything that is under way end, then book the sessions of which only sums are known."""
        while self._events:
            self._pass_time(self._events[0][0])
        for session in self.sessions.values():
            if session.outcome.calls == 0:
                for timed in session.statements:
                    book_stated(self._meter, self._tariff, session, timed)

    def close(self) -> None:
        """Give up what is under way. Admissions that wait clean up behind them, which somebody has to conduct: the
        garbage collector would only drop them, and complain of each."""
        while self._waiting:
            steps = self._waiting.pop()
            with suppress(GeneratorExit):
                drive(steps, steps.throw(GeneratorExit()))

    # Time

    def _pass_time(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            at, _, _, happens = heapq.heappop(self._events)
            self._now = max(self._now, at)
            happens()
        self._now = max(self._now, until)

    def _at(self, time: float, kind: int, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, kind, next(self._order), happens))

    # Model calls

    def _begin(self, session: Session, timed: Timed) -> None:
        call, outcome = timed.call, session.outcome
        tiers = self._tariff.tiers(call, timed.start)
        if tiers is None and not self._counts_money:
            tiers = Tiers((Tier(call.model, free_price(call.model or "unknown")),), 0)
        if tiers is None or is_without_usage(call):
            outcome.calls += 1
            outcome.unpriced += 1
            return
        call = restored(call, tiers.price)
        timed = timed._replace(call=call)
        cost = 0 if was_free(call) else tiers.price.cost(call.usage, call.service_tier or None)
        outcome.calls += 1
        outcome.tokens += call.usage.total_tokens
        outcome.cost += cost
        run = session.run(call)
        played = _Played(session, run, timed, tiers, cost, outcome.calls)
        if session.is_cut(run, self._now):
            self._cut(played)
            return
        attribution = session.attribution(call, run, self._policy)
        self._watch_context(session, call, attribution)
        asked = model_call(self._meter, run, call, tiers, attribution, self._output_limit)
        self._go_on(admit(self._meter, run, asked), played)

    def _go_on(self, steps: Steps[Admission], played: _Played) -> None:
        """Conduct an admission up to its end, or to when it looks again."""
        self._speaker = played.moment(self._now)
        self._waiting.discard(steps)
        try:
            pause = until_pause(steps)
        except StopIteration as ended:
            self._admitted(ended.value, played)
        except BudgetExceeded as refusal:
            played.session.end(refusal, self._policy, played.run, played.moment(self._now, str(refusal)))
            self._cut(played)
        else:
            self._waiting.add(steps)
            self._at(self._now + pause.seconds, _AFTER_OTHERS, partial(self._go_on, steps, played))

    def _admitted(self, admission: Admission, played: _Played) -> None:
        session, tier = played.session, admission.way.quote.tier
        if tier != played.tiers.recorded:
            session.has_diverged = True
        if tier:
            session.outcome.downgraded += 1
            if session.outcome.stepped_down is None:
                session.outcome.stepped_down = played.moment(self._now, admission.way.reason)
        ends = self._now + played.timed.end - played.timed.start
        self._at(ends, _BEFORE_OTHERS, partial(self._end, admission, played))

    def _end(self, admission: Admission, played: _Played) -> None:
        session, call = played.session, played.timed.call
        self._speaker, self._overran = played.moment(self._now), False
        if was_free(call):
            tier = played.tiers.models[admission.way.quote.tier]
            drive(cancel(self._meter, admission, tier.price, flag=call.error or CLIENT_CACHE_HIT))
        else:
            self._settle(admission, played)
        session.outcome.overruns += self._overran
        for tool, _ in call.tools:
            self._begin_tool(session, call, tool, self._now)

    def _settle(self, admission: Admission, played: _Played) -> None:
        session, call = played.session, played.timed.call
        name, price = played.tiers.models[admission.way.quote.tier]
        usage, limit, is_useless = call.usage, admission.output_limit, False
        if session.has_diverged:
            usage = moved(usage, admission.run.cached_prefix(name))
        if limit is not None and limit < usage.completion_tokens:
            session.outcome.shortened += 1
            session.outcome.tokens_shortened += usage.completion_tokens - limit
            usage = shortened(usage, limit)
            is_useless = limit <= call.usage.reasoning or bool(call.tools)  # cut off while it thinks, or asks for tools
        flags = ("estimated",) if ESTIMATED in call.flags else ()
        steps = settle(self._meter, admission, usage, price, service_tier=call.service_tier or None, flags=flags)
        session.outcome.cost_after += drive(steps).cost
        if is_useless and (refusal := drive(refuse_useless(self._meter, admission))):
            session.end(refusal, self._policy, played.run, played.moment(self._now, str(refusal)))

    def _cut(self, played: _Played) -> None:
        outcome, call = played.session.outcome, played.timed.call
        outcome.calls_cut += 1
        outcome.tokens_cut += call.usage.total_tokens
        outcome.cost_cut += played.cost
        outcome.tool_calls += len(call.tools)
        outcome.tool_calls_cut += len(call.tools)

    def _watch_context(self, session: Session, call: TracedCall, attribution: Mapping[str, str]) -> None:
        limit = context_limit(matching(self._policy, attribution))
        if limit is not None and call.usage.prompt_tokens > limit:
            session.outcome.over_context += 1

    # Tool calls

    def _begin_tool(self, session: Session, call: TracedCall, tool: str, end: float) -> None:
        outcome, run = session.outcome, session.run(call)
        outcome.tool_calls += 1
        if session.is_cut(run, self._now):
            outcome.tool_calls_cut += 1
            return
        self._speaker = Moment(outcome.calls, self._now, tool, "")
        who = session.attribution(call, run, self._policy)
        try:
            admission = drive(admit_tool(self._meter, run, tool, who))
        except BudgetExceeded:
            outcome.tool_calls_cut += 1
        else:
            self._at(max(end, self._now), _BEFORE_OTHERS, partial(self._end_tool, admission))

    def _end_tool(self, admission: ToolAdmission) -> None:
        drive(settle_tool(self._meter, admission))

    # What is heard meanwhile

    def _hear(self, event: BudgetEvent) -> None:
        outcome = self.sessions[event.session].outcome
        moment = self._speaker._replace(message=event.message)
        if event.kind == "alert" and outcome.alerted is None:
            outcome.alerted = moment
        elif event.kind == "shadow" and outcome.watched is None:
            outcome.watched = moment
        elif event.kind == "overrun":
            self._overran = True
