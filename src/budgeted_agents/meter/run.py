"""``Run``: what one invocation of an application remembers while it goes on. Money is the ledger's to remember."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from budgeted_agents.errors import BudgetExceeded

Tiers = tuple[str, ...]


@dataclass(eq=False)
class Run:
    """One invocation, shared by all its threads and tasks.

    Attributes:
        id: names the invocation.
        session: the conversation it belongs to.
        attribution: who it is for, without what changes from call to call.
        may_wait: whether a call may block its thread while other calls settle.
        depth: how many agents this one runs inside of, itself included.
        exhausted: the first refusal that ended ordinary work, if any.
        stopped: refusals that were to stop the run where it is, in place of landing.
        landed: how the run was landed, once it was.
        unavailable: names of models to step down to that have turned a call down for good.
    """

    id: str
    session: str
    attribution: Mapping[str, str] = field(default_factory=dict)
    may_wait: bool = True
    depth: int = 1
    exhausted: BudgetExceeded | None = None
    landed: str | None = None
    stopped: list[BudgetExceeded] = field(default_factory=list)
    unavailable: set[str] = field(default_factory=set)
    _rearmed: bool = False
    _tiers: dict[Tiers, int] = field(default_factory=dict)
    _cached: dict[str, int] = field(default_factory=dict)
    _answers: dict[str, int] = field(default_factory=dict)
    _visits: dict[str, set[object]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def exhaust(self, refusal: BudgetExceeded) -> bool:
        """Remember the refusal that ended ordinary work; False if there was one before."""
        with self._lock:
            if self.exhausted is not None:
                return False
            self.exhausted = refusal
            return True

    def rearm(self) -> bool:
        """True the first time it is asked: the landing then lets other deferred work go first."""
        with self._lock:
            first, self._rearmed = not self._rearmed, True
            return first

    def held_tier(self, tiers: Tiers) -> int:
        """The tier this list of models was stepped down to (0: none)."""
        return self._tiers.get(tiers, 0)

    def hold_tier(self, tiers: Tiers, tier: int) -> None:
        self._tiers[tiers] = tier

    def cached_prefix(self, model: str) -> int:
        """Input tokens the provider probably still has in its prompt cache for this model."""
        return self._cached.get(model, 0)

    def longest_answer(self, node: str) -> int | None:
        """Output tokens of the longest answer a node has got in this run, without thinking; None if it has got none."""
        return self._answers.get(node)

    def remember(self, node: str, answer: int, model: str, cached: int) -> None:
        """Learn from a call that has ended: how long a node's answer was, without thinking, and what the provider may
        have cached of the model's prompt, both in tokens."""
        self._answers[node] = max(answer, self._answers.get(node, 0))
        self._cached[model] = cached

    def visit(self, node: str, step: object) -> int:
        """Count a visit of a node; all tasks of one step (a fan-out) are one visit. Returns the visits so far."""
        with self._lock:
            steps = self._visits.setdefault(node, set())
            steps.add(step)
            return len(steps)
