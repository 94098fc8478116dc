"""Sums over calls that can be added to one another: the state of an audit, of a size that calls do not add to.

They are dataclasses and not structs because every call adds to twenty of their fields, which takes a struct twice as
long; and they are pickled as their values alone, as structs are, because processes send each other thousands of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from budgeted_agents.traces.audit.verdicts import CONSTANT_RATIO, MISMATCH, Assessment, Spread, Verdict, is_constant

_MOST_REMEMBERED = 512
"""Tool calls of one session that are remembered to find loops; what is asked after that counts as new."""


NO_NAMES: frozenset[str] = frozenset()


def united(names: frozenset[str], more: Iterable[str]) -> frozenset[str]:
    """All of the names, in one object for all that have the same: most sessions have the same few."""
    return names if names.issuperset(more) else _shared(names.union(more))


@lru_cache(maxsize=10_000)
def _shared(names: frozenset[str]) -> frozenset[str]:
    return names


@dataclass(slots=True)
class Tally:
    """Model calls added up.

    Attributes:
        calls: how many.
        input, cached, output: tokens; cached ones (read from a prompt cache) are part of the input.
        cost: nano-USD of the calls that have a price.
        unpriced: how many have none.
        recorded: atto-USD that the trace itself records.
        recorded_calls: for how many calls it does.
        failed, failed_cost: calls that ended in an error, and nano-USD they cost all the same.
    """

    calls: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    cost: int = 0
    unpriced: int = 0
    recorded: int = 0
    recorded_calls: int = 0
    failed: int = 0
    failed_cost: int = 0

    def __reduce__(self) -> tuple[type[Tally], tuple[Any, ...]]:
        return type(self), attrgetter(*self.__match_args__)(self)

    def add(
        self,
        prompt: int,
        cached: int,
        output: int,
        cost: int | None,
        recorded: int | None,
        failed: bool,
        calls: int = 1,
    ) -> None:
        """Add one call, or a statement about several."""
        self.calls += calls
        self.input += prompt
        self.cached += cached
        self.output += output
        if cost is None:
            self.unpriced += calls
        else:
            self.cost += cost
        if recorded is not None:
            self.recorded += recorded
            self.recorded_calls += calls
        if failed:
            self.failed += calls
            self.failed_cost += cost or 0

    def merge(self, other: Tally) -> None:
        """Add another one's calls."""
        self.calls += other.calls
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        self.cost += other.cost
        self.unpriced += other.unpriced
        self.recorded += other.recorded
        self.recorded_calls += other.recorded_calls
        self.failed += other.failed
        self.failed_cost += other.failed_cost

    @property
    def is_priced(self) -> bool:
        """Whether any of it could be priced, so that its cost is a figure and not unknown."""
        return self.unpriced < self.calls


@dataclass(slots=True)
class Loops:
    """Tool calls asked for again with the same arguments.

    Attributes:
        seen: what each different tool call cost when it was first asked for, in nano-USD, by digest; None if unknown.
        repeats: how many were asked for again.
        cost: nano-USD of the model calls that asked again.
        costless: repeats for which nobody knows which model call asked.
    """

    seen: dict[int, int | None] = field(default_factory=dict)
    repeats: int = 0
    cost: int = 0
    costless: int = 0

    def add(self, digest: int, cost: int | None) -> None:
        """A tool call was asked for, at this cost (nano-USD)."""
        if digest in self.seen:
            self.repeats += 1
            self.cost += cost or 0
            self.costless += cost is None
        elif len(self.seen) < _MOST_REMEMBERED:
            self.seen[digest] = cost

    def merge(self, other: Loops) -> None:
        """Add those of another part of the session: what both saw first, one of them saw again."""
        self.repeats += other.repeats
        self.cost += other.cost
        self.costless += other.costless
        for digest, cost in other.seen.items():
            self.add(digest, cost)


@dataclass(slots=True)
class Judged(Tally):
    """Calls with the verdicts on their recorded costs.

    Attributes:
        verdicts: how many calls got which verdict.
        ratios: of recorded to right cost, of the mismatches; None if there are none.
        per_token: atto-USD recorded for each of their tokens; None likewise.
        flags: what is known about the quality of the figures.
    """

    verdicts: dict[Verdict, int] = field(default_factory=dict)
    ratios: Spread | None = None
    per_token: Spread | None = None
    flags: frozenset[str] = NO_NAMES

    def judge(self, found: Assessment, calls: int = 1) -> None:
        """A call, or a statement about several, was judged."""
        self.verdicts[found.verdict] = self.verdicts.get(found.verdict, 0) + calls
        if found.verdict == MISMATCH:
            self._differ(Spread(1, found.ratio, found.ratio), Spread(1, found.per_token, found.per_token))

    def _differ(self, ratios: Spread, per_token: Spread) -> None:
        if self.ratios is None or self.per_token is None:
            self.ratios, self.per_token = Spread(), Spread()
        self.ratios.merge(ratios)
        self.per_token.merge(per_token)

    def merge_judged(self, other: Judged) -> None:
        """Add another one's calls and verdicts."""
        self.merge(other)
        for verdict, calls in other.verdicts.items():
            self.verdicts[verdict] = self.verdicts.get(verdict, 0) + calls
        if other.ratios is not None and other.per_token is not None:
            self._differ(other.ratios, other.per_token)
        self.flags = united(self.flags, other.flags)

    def final_verdicts(self) -> dict[Verdict, int]:
        """The verdicts, mismatches that share one ratio told apart from the others."""
        if self.ratios is None or self.per_token is None or not is_constant(self.ratios, self.per_token):
            return dict(self.verdicts)
        return {CONSTANT_RATIO if verdict == MISMATCH else verdict: n for verdict, n in self.verdicts.items()}


class Place(NamedTuple):
    """What a call is grouped by, beside its session."""

    model: str
    provider: str
    day: int
    node: str
    tenant: str
    feature: str


@dataclass(slots=True)
class SessionTally(Judged):
    """One session: its calls, and what the trace says of it in sum.

    Attributes:
        models: the models that answered.
        tool_calls: how many tools ran, or, where the trace has no spans of tools, were asked for.
        loops: tool calls repeated; None before the first whose arguments are known.
        unrecorded_cache: input tokens that must have come from a cache although the trace does not say so.
        started, ended: seconds since the epoch; 0 where unknown.
        downgrades: calls answered by a cheaper model than the one asked for.
        turns: things the user asked for; 0 where unknown.
        succeeded: whether it reached its goal; None where unknown.
        stated: what statements say, by place; None if there are none.
        stated_premium: the part of their cost that goes to dear models, in nano-USD.
    """

    models: frozenset[str] = NO_NAMES
    tool_calls: int = 0
    loops: Loops | None = None
    unrecorded_cache: int = 0
    started: float = 0.0
    ended: float = 0.0
    downgrades: int = 0
    turns: int = 0
    succeeded: bool | None = None
    stated: dict[Place, Judged] | None = None
    stated_premium: int = 0

    def happened(self, started: float, ended: float) -> None:
        """Something in it happened at these times."""
        if started > 0 and (not self.started or started < self.started):
            self.started = started
        if ended > self.ended:
            self.ended = ended

    def statements(self) -> Iterable[tuple[Place, Judged]]:
        """What statements say, by place."""
        return () if self.stated is None else self.stated.items()

    def stated_at(self, place: Place) -> Judged:
        """What statements say of a place, to add to."""
        if self.stated is None:
            self.stated = {}
        return self.stated.setdefault(place, Judged())

    def repeated(self) -> Loops:
        """Its loops, to add to."""
        if self.loops is None:
            self.loops = Loops()
        return self.loops

    def merge_session(self, other: SessionTally) -> None:
        """Add another part of the same session."""
        self.merge_judged(other)
        self.models = united(self.models, other.models)
        self.tool_calls += other.tool_calls
        if other.loops is not None:
            self.repeated().merge(other.loops)
        self.unrecorded_cache += other.unrecorded_cache
        self.happened(other.started, other.ended)
        self.downgrades += other.downgrades
        self.concluded(other.turns, other.succeeded)
        for place, stated in other.statements():
            self.stated_at(place).merge_judged(stated)
        self.stated_premium += other.stated_premium

    def concluded(self, turns: int, succeeded: bool | None) -> None:
        """A statement says how it went; one that says more of success or failure wins over one that says nothing."""
        self.turns += turns
        if succeeded is not None:
            self.succeeded = succeeded and self.succeeded is not False
