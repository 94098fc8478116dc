"""``Meter``: what calls are conducted with, and what has become known while conducting them.

The order of steps for one call, which ``admission`` and ``settlement`` own::

    quote -> pressure -> reserve -> (the adapter calls the model) -> record -> settle

Adapters drive these steps (see ``steps``); they price, decide and count nothing themselves.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import count
from typing import Any

from msgspec import Struct

from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import Policy
from budgeted_agents.errors import BudgetExceeded, LedgerError
from budgeted_agents.estimate import Margins, Thinking
from budgeted_agents.governor import Plans
from budgeted_agents.ledgers import TopUp
from budgeted_agents.ledgers.contract import Account, Balance, Ledger, Settlement
from budgeted_agents.meter.events import Listener, publish
from budgeted_agents.meter.hosts import Hosts
from budgeted_agents.meter.outcomes import BillingTable
from budgeted_agents.meter.recording import call_to_tell, tell
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.steps import Steps
from budgeted_agents.prices import PriceBook
from budgeted_agents.traces import BudgetEvent, CallRecord, Recorder, ToppedUp
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.event import EventKind
from budgeted_agents.traces.records.recorder import keeps_content

HOLD_TTL = 900.0
"""Seconds until a reservation whose worker is silent is presumed spent: half again the usual 600 s request time-out."""


class Booking(Struct, eq=False):
    """A change of the ledger that ends a call.

    Attributes:
        verb: what changes the ledger; to do it twice changes nothing.
        session, run: whose it is.
        what: what has ended; as text, for people.
        settlement: what the verb answered when it was done last.
    """

    verb: Callable[[], Settlement | None]
    session: str
    what: object
    run: str = ""
    settlement: Settlement | None = None

    def book(self) -> None:
        self.settlement = self.verb()


@dataclass(eq=False)
class Meter:
    """Conducts calls under one policy, on one ledger.

    Attributes:
        policy: the budgets.
        ledger: where money is kept.
        prices: what models cost.
        margins: what is learned of each model's token counts; ``thinking`` of how much each thinks.
        billing: which failures are certainly unbilled.
        listeners: told of every event.
        logs: whether the log is told too; calls that are only simulated are no news.
        recorders: told of every call before it is booked, and of every event: the journal, OpenTelemetry.
        clock: seconds since the epoch.
        hold_ttl: seconds a silent reservation lasts.
        unsettled: bookings the ledger could not take yet; they go first once it can.
        models: what adapters remember of models that were called, for every run under this policy.
        plans: which accounts a call touches, by the policy; whoever exchanges one exchanges both.
        hosts: where sessions of this application were run inside another one's run, whose meter then conducts them.
        guests: budgets of applications that have run inside this one, by the names they have here.
        keeps_content: whether some recorder was asked to keep what calls say.
    """

    policy: Policy
    ledger: Ledger
    prices: PriceBook
    margins: Margins = field(default_factory=Margins)
    billing: BillingTable = field(default_factory=BillingTable)
    listeners: Sequence[Listener] = ()
    recorders: Sequence[Recorder] = ()
    clock: Callable[[], float] = time.time
    hold_ttl: float = HOLD_TTL
    unsettled: deque[Booking] = field(default_factory=deque)
    logs: bool = True
    thinking: Thinking = field(default_factory=Thinking)
    guests: dict[str, Budget] = field(default_factory=dict)
    hosts: Hosts = field(default_factory=Hosts, init=False, repr=False)
    plans: Plans = field(init=False, repr=False)
    keeps_content: bool = field(init=False, repr=False)
    models: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.plans = Plans(self.policy)
        self.keeps_content = any(map(keeps_content, self.recorders))

    def publish(
        self, kind: EventKind, message: str, session: str = "", balance: Balance | None = None, run: str = ""
    ) -> None:
        """Tell the log, the listeners and the recorders of something, and of the account it concerns."""
        account = balance.account if balance is not None else Account("")
        key = account.key if balance is not None else ""
        spent, limit = (balance.spent, balance.limit) if balance is not None else (0, 0)
        self._tell(BudgetEvent(kind, message, session, account.budget, key, account.unit, spent, limit, run))

    def record(self, record: CallRecord, content: Content | None = None) -> None:
        """Tell the recorders of a call that is about to be booked; one that cannot take it harms no call."""
        for failure in tell(self.recorders, call_to_tell(record, content)):
            self.publish("unrecorded", f"A call could not be recorded: {failure}", record.session, run=record.run)

    def topped_up(self, top_up: TopUp, balance: Balance, session: str) -> None:
        """Tell the recorders of a top-up that the ledger has."""
        topped_up = ToppedUp.after(top_up, balance, session)
        for failure in tell(self.recorders, lambda recorder: recorder.top_up(topped_up)):
            self.publish("unrecorded", f"A top-up could not be recorded: {failure}", session, balance)

    def _tell(self, event: BudgetEvent) -> None:
        publish(event, self.listeners, self.logs)
        if self.recorders:
            timed = replace(event, at=self.clock())
            tell(self.recorders, lambda recorder: recorder.event(timed))

    def refused(self, run: Run, error: BudgetExceeded, node: str = "") -> Steps[None]:
        """Tell of a refusal, and note it in the session; a ledger that cannot take the note does not change it."""
        about = (error.budget, error.account, error.unit)
        self._tell(BudgetEvent("refusal", str(error), run.session, *about, limit=error.limit, run=run.id))
        body = {"kind": "refusal", "message": str(error), "budget": error.budget, "unit": error.unit}
        body |= {"node": node, "run": run.id}
        try:
            yield partial(self.ledger.note, run.session, body, now=self.clock())
        except LedgerError as failure:
            self.publish("unsettled", f"A refusal could not be noted: {failure}", run.session)

    def next_unsettled(self) -> Booking | None:
        """Take the first of what could not be booked yet; another thread may have taken the last."""
        try:
            return self.unsettled.popleft()
        except IndexError:
            return None


def new_id() -> str:
    """An id for an attempt: a number and what is the process's own, so that no coordination is needed and no id is
    ever used twice. It asks the system for nothing: that would empty the processor's caches in the midst of a call."""
    numbers, process = _ids()
    return f"{next(numbers):016x}{process}"


@cache
def _ids() -> tuple[Iterator[int], str]:
    """Numbers from the time on, in nanoseconds, and 64 random bits for this process."""
    return count(time.time_ns()), os.urandom(8).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.cache_clear)
