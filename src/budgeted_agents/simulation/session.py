"""What one session comes to under a policy: counts, and the first time that each thing happened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from budgeted_agents.budget import Policy
from budgeted_agents.budget.attribution import from_metadata
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import window_of
from budgeted_agents.meter import Run
from budgeted_agents.simulation.order import Timed
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.values import digest

MOST_RUNS = 16
"""Invocations of one session that are remembered at a time."""


class Moment(NamedTuple):
    """When something happened first.

    Attributes:
        call: the place of the model call in its session, from 1; 0 if it came with a tool call before any.
        at: seconds since the epoch; 0 where the trace tells no times.
        model: the model of that call, or the tool.
        message: what the budget said.
    """

    call: int
    at: float
    model: str
    message: str


class Ending(NamedTuple):
    """Why and how a session's work would have ended.

    Attributes:
        how: ``land``, ``suspend`` or ``raise``.
        budget: the budget that refused.
        moment: when.
    """

    how: str
    budget: str
    moment: Moment


@dataclass(slots=True)
class SessionOutcome:
    """One session under one policy. Amounts are nano-USD.

    Attributes:
        session: its id.
        calls, tokens, cost: as recorded: model calls, their tokens, what they cost at the prices used.
        cost_after: what it would have cost.
        calls_cut, tokens_cut, cost_cut: calls that would not have been made, and what they used and cost.
        downgraded: calls that a cheaper model would have answered than the one that did.
        shortened: answers that would have been cut off; ``tokens_shortened`` by how many tokens in all.
        tool_calls, tool_calls_cut: tool calls, and those that would have been refused or not been made.
        overruns: calls that cost more than was held for them.
        over_context: calls whose input is above ``context_tokens``; live, their context would have been pruned.
        unpriced: calls left out because no price, or no count of tokens, is known of them.
        landing_reserve: what a finalizer may have spent besides, at most.
        is_stated: no call is known, only what the trace says of the session in sum.
        is_timeless: the trace does not tell when some of it was; it counts as at the beginning of the calendar.
        alerted, stepped_down, watched: the first alert; the first downgrade; the first call that a budget in shadow
            mode would have refused.
        ended: the first refusal of a model call.
    """

    session: str
    calls: int = 0
    tokens: int = 0
    cost: int = 0
    cost_after: int = 0
    calls_cut: int = 0
    tokens_cut: int = 0
    cost_cut: int = 0
    downgraded: int = 0
    shortened: int = 0
    tokens_shortened: int = 0
    tool_calls: int = 0
    tool_calls_cut: int = 0
    overruns: int = 0
    over_context: int = 0
    unpriced: int = 0
    landing_reserve: int = 0
    is_stated: bool = False
    is_timeless: bool = False
    alerted: Moment | None = None
    stepped_down: Moment | None = None
    watched: Moment | None = None
    ended: Ending | None = None

    @property
    def saved(self) -> int:
        """Nano-USD that the policy would have saved; negative if it would have cost more."""
        return self.cost - self.cost_after


@dataclass(slots=True)
class Session:
    """A session while it is simulated.

    Attributes:
        name: what the ledger calls it.
        outcome: what it comes to.
        statements: what the trace says of it in sum.
        has_diverged: some call went to another model than in the recording, so the caches it shows are not to be had.
    """

    name: str
    outcome: SessionOutcome
    statements: list[Timed] = field(default_factory=list)
    has_diverged: bool = False
    _runs: dict[str, Run] = field(default_factory=dict)
    _cut_until: dict[str, float] = field(default_factory=dict)
    _latest: tuple[tuple[object, ...], Mapping[str, str]] | None = None

    @classmethod
    def of(cls, call: TracedCall) -> Session:
        return cls(name_of(call.session), SessionOutcome(call.session))

    def run(self, call: TracedCall) -> Run:
        """The invocation a call belongs to: what its trace says, else its trace, else the whole session."""
        told = call.attribution.get("run") or call.trace
        run = self._runs.get(told)
        if run is None:
            if len(self._runs) >= MOST_RUNS:
                del self._runs[next(iter(self._runs))]
            run = self._runs[told] = Run(name_of(told) if told else self.name, self.name)
        return run

    def attribution(self, call: TracedCall, run: Run, policy: Policy) -> Mapping[str, str]:
        """Who a call is for, by every dimension that is known of it."""
        key = (call.attribution, call.node, run.id)
        if self._latest is None or self._latest[0] != key:
            told = from_metadata({**call.attribution, "node": call.node}, policy.dimensions)
            self._latest = (key, {**told, "session": self.name, "run": run.id})
        return self._latest[1]

    def is_cut(self, run: Run, now: float) -> bool:
        """Whether the work had ended before, and the budget that ended it has not started afresh since."""
        return any(now < self._cut_until.get(scope, 0.0) for scope in ("", run.id))

    def end(self, refusal: BudgetExceeded, policy: Policy, run: Run, moment: Moment) -> None:
        """The work ends here: for the window of the budget that refused; for the run, if the budget is one a run."""
        budget = policy.by_name[refusal.budget]
        window = window_of(budget, refusal.unit, moment.at)
        self._cut_until[run.id if "run" in budget.per else ""] = window.end if window else math.inf
        if self.outcome.ended is None:
            self.outcome.ended = Ending(budget.on_exhausted, budget.name, moment)
        if budget.on_exhausted == "land" and budget.usd_nanos is not None:
            self.outcome.landing_reserve += round((budget.landing_reserve or 0.0) * budget.usd_nanos)


@lru_cache(maxsize=4096)
def name_of(id: str) -> str:
    """A session's or a run's id as a ledger can keep it: itself, or a digest where it is no short name."""
    return from_metadata({"session": id}).get("session") or digest(id.encode("utf-8", "surrogatepass"))
