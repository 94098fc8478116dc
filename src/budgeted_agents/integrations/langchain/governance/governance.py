"""``Governance``: what conducts the calls of a run, and how the framework around them is told of a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.outputs import LLMResult

from budgeted_agents.budget.attribution import (
    MAX_LENGTH,
    UNATTRIBUTED,
    Attribution,
    ambient,
    from_metadata,
    passed_over,
)
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import matching
from budgeted_agents.integrations.langchain.governance.configs import namespace
from budgeted_agents.integrations.langchain.governance.depth import graphs_around
from budgeted_agents.integrations.langchain.governance.texts import texts
from budgeted_agents.meter import Meter, Run, Steps
from budgeted_agents.meter.refusals import over_cap

SELF_METERED = "budgeted_agents_metered"
"""Metadata key by which callback handlers know that a call is conducted already, so that none is charged twice."""

RUN_CHANNEL = "budgeted_agents_run"
"""Key of the private channel in the state of an agent whose runs are governed by its own middleware."""

_MOST_ATTRIBUTIONS = 1_024
"""Attributions remembered of one run: one for each node, and for each value its calls' metadata have."""


_KNOWN = frozenset({"session", "run", "node"})
"""Dimensions that the run itself knows, whatever the metadata says."""


def _same(error: BudgetExceeded) -> BaseException:
    return error


@dataclass(eq=False)
class Governance:
    """A meter, the run it works for, and how a framework wants to be told of a refusal.

    Attributes:
        meter: conducts the calls.
        run: the invocation they belong to.
        as_raised: turns a refusal into the exception to raise.
        refusals: model calls refused so far, with the checkpoint namespace each was made in.
        latest: the tiers of the model called last, in a list that copies with more budgets and the run around this one
            share.
        own: names of the budgets that are this run's own, not those of a run around it; its landing may spend theirs.
        outer: what governs the run around this one, if there is one.
        parts: those that were joined to make this one.
        steps: what model calls have answered in steps that were then refused, by langchain-core's ids, for the landing.
            Calls beside the refused one may still add to it.
    """

    meter: Meter
    run: Run
    as_raised: Callable[[BudgetExceeded], BaseException] = _same
    refusals: list[tuple[str, BudgetExceeded]] = field(default_factory=list)
    latest: list[Sequence[Any]] = field(default_factory=list)
    own: frozenset[str] = frozenset()
    outer: Governance | None = None
    parts: tuple[Governance, ...] = ()
    steps: list[Mapping[int, LLMResult]] = field(default_factory=list)
    _attributions: dict[tuple[object, ...], tuple[Attribution, Attribution]] = field(default_factory=dict, init=False)
    _told: set[str] = field(default_factory=set, init=False)

    @property
    def latest_tiers(self) -> Sequence[Any] | None:
        """The tiers of the model called last, for the finalizer to land with; None before the first call."""
        return self.latest[-1] if self.latest else None

    @latest_tiers.setter
    def latest_tiers(self, tiers: Sequence[Any]) -> None:
        self.latest[:] = [tiers]

    def is_within(self, other: Governance) -> bool:
        """Whether this is another one, has it as a part, or is of a run inside its run: then whatever holds there holds
        here."""
        around = self.parts if self.outer is None else (*self.parts, self.outer)
        return self is other or any(each.is_within(other) for each in around)

    def attribution(self, metadata: Mapping[str, Any]) -> Attribution:
        """Who a call is for, from what encloses it; the innermost says most. Built once for all calls of one node."""
        dimensions = self.meter.policy.dimensions
        said = {} if dimensions.isdisjoint(metadata) else from_metadata(metadata, dimensions)
        node, around = metadata.get("langgraph_node"), ambient()
        key = (node, *said.items())
        known = self._attributions.get(key)
        if known is not None and known[0] is around:
            return known[1]
        run = self.run
        who = {**run.attribution, **around, **said, "session": run.session, "run": run.id}
        if node:
            who["node"] = node
        if len(self._attributions) >= _MOST_ATTRIBUTIONS:
            self._attributions.clear()
        self._attributions[key] = (around, who)
        self._tell_of_passed_over(metadata, who)
        return who

    def _tell_of_passed_over(self, metadata: Mapping[str, Any], who: Attribution) -> None:
        """Say once of each dimension that the metadata's value is no name: such calls share an account."""
        for name in passed_over(metadata, self.meter.policy.deciding - _KNOWN - self._told):
            self._told.add(name)
            message = (
                f"metadata[{name!r}] ({type(metadata[name]).__name__}) is no short name, so calls are charged as "
                f"{name}={who.get(name, UNATTRIBUTED)}. "
                f"Give a string of at most {MAX_LENGTH} characters, a whole number or a UUID"
            )
            self.meter.publish("unattributed", message, self.run.session, run=self.run.id)

    def check_depth(self, metadata: Mapping[str, Any], attribution: Mapping[str, str]) -> Steps[None]:
        """Refuse a call made by an agent that is nested too deep.

        Raises:
            BudgetExceeded: naming the budget whose ``depth`` binds.
        """
        depth = max(self.run.depth, graphs_around(namespace(metadata), metadata.get("langgraph_path")))
        for budget in matching(self.meter.policy, attribution):
            if budget.depth is not None and depth > budget.depth and not budget.shadow:
                remedy = "Raise depth, or let the outer agent do the work itself."
                error = over_cap(
                    budget.name,
                    "depth",
                    needed=depth,
                    limit=budget.depth,
                    what="an agent inside an agent",
                    remedy=remedy,
                )
                yield from self.meter.refused(self.run, error, attribution.get("node", ""))
                raise error

    @property
    def unfinished(self) -> list[str]:
        """What model calls have answered in steps that were then refused."""
        found: dict[int, LLMResult] = {}
        for answers in self.steps:
            found.update(answers)
        return texts(found.values())

    def answered(self, call: int, answer: LLMResult) -> None:
        """Told of each model call of this run, by langchain-core's id, what it has answered."""

    def refuse(self, error: BudgetExceeded, metadata: Mapping[str, Any]) -> BaseException:
        """Remember a refusal and where it happened; the exception to raise."""
        self.refusals.append((namespace(metadata), error))
        return self.as_raised(error)
