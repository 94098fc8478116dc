"""What governs the calls made just now: a meter and the run they belong to, found through a context variable.

The variable holds a callback handler, and langchain-core is told to add that handler to every call made while it is set
(``register_configure_hook``), so that calls with callbacks of their own and calls in closures are seen as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import register_configure_hook

from budgeted_agents.budget.attribution import (
    MAX_LENGTH,
    UNATTRIBUTED,
    Attribution,
    ambient,
    from_metadata,
    passed_over,
)
from budgeted_agents.errors import BudgetExceeded, InvalidAttribution
from budgeted_agents.governor import matching
from budgeted_agents.integrations.langchain.governance.context import Assigned
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
        """Whether this is another one, or of a run inside its run: then whatever holds there holds here."""
        return self is other or (self.outer is not None and self.outer.is_within(other))

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


_handler: ContextVar[BaseCallbackHandler | None] = ContextVar("budgeted_agents_handler", default=None)
_loop: ContextVar[tuple[asyncio.AbstractEventLoop, BaseCallbackHandler] | None] = ContextVar(
    "budgeted_agents_loop", default=None
)
_landing: ContextVar[frozenset[str]] = ContextVar("budgeted_agents_landing", default=frozenset())

Finder = Callable[[BaseCallbackHandler | None], BaseCallbackHandler | None]
"""Given the handler in force around the place where a call is made, the handler of a run inside it, if there is one."""


class _InForce:
    """The innermost handler in force. langchain-core asks it, as it would ask a context variable, at every call.

    Attributes:
        get: finds it: the context variable's own, as long as nothing else has to be asked.
    """

    def __init__(self) -> None:
        self.get: Callable[[], BaseCallbackHandler | None] = _handler.get


class _OnLoop:
    """Who admits calls on an event loop. langchain-core asks it like the handler in force, and before it."""

    @staticmethod
    def get() -> BaseCallbackHandler | None:
        loop = _loop.get()
        return loop[1] if loop is not None and asyncio._get_running_loop() is loop[0] else None


_in_force, _on_loop = _InForce(), _OnLoop()
register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", _on_loop), inheritable=True)
register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", _in_force), inheritable=True)


def found_by(finder: Finder) -> None:
    """Have a framework's own way of finding the run asked as well, where no context variable can be set."""
    around = _in_force.get

    def get() -> BaseCallbackHandler | None:
        handler = around()
        return finder(handler) or handler

    _in_force.get = get


def awaited_by(starter: BaseCallbackHandler) -> Assigned[tuple[asyncio.AbstractEventLoop, BaseCallbackHandler] | None]:
    """Inside the block, an asynchronous handler admits the calls that are made on the running event loop.

    It is to be in force where the run's handler is: handlers are handed down in the order in which they were found.
    """
    return Assigned(_loop, (asyncio.get_running_loop(), starter))


def is_on_loop() -> bool:
    """Whether this is run on the loop of the asynchronous run it belongs to: not in a thread of its, nor on the loop
    that langchain-core makes for an asynchronous handler of a synchronous call."""
    return _on_loop.get() is not None


def in_force() -> BaseCallbackHandler | None:
    """The handler of the innermost governed run this is called in."""
    return _in_force.get()


def current() -> Governance | None:
    """What governs the calls made here; None if nothing does."""
    handler = _in_force.get()
    return None if handler is None else handler.governance  # type: ignore[attr-defined]


def of_graph() -> Governance | None:
    """What governs the governed graph whose node this is called in. Where that graph is itself an agent with the
    middleware, ``current`` is the run of the agent, inside this one."""
    handler = _handler.get()
    return None if handler is None else handler.governance  # type: ignore[attr-defined]


def governed_by(handler: BaseCallbackHandler | None) -> Assigned[BaseCallbackHandler | None]:
    """Let a handler (one that has a ``governance``) see and govern every call made inside the block."""
    return Assigned(_handler, handler)


put_in_force: Callable[[BaseCallbackHandler | None], Token[BaseCallbackHandler | None]] = _handler.set
restore: Callable[[Token[BaseCallbackHandler | None]], None] = _handler.reset
"""The same in two steps, for what is done at every step of a run."""


@contextmanager
def landing(budgets: frozenset[str]) -> Iterator[None]:
    """Let the calls made inside the block spend the landing reserve of these budgets."""
    token = _landing.set(_landing.get() | budgets)
    try:
        yield
    finally:
        _landing.reset(token)


landing_budgets: Callable[[], frozenset[str]] = _landing.get
"""The budgets whose landing reserve may be spent here."""


def may_block() -> bool:
    """Whether this thread may be blocked until other calls settle: not an event loop's, nor one of the few threads that
    asyncio runs callbacks in, because other calls may need it to settle."""
    return asyncio._get_running_loop() is None and not threading.current_thread().name.startswith("asyncio_")


def ambient_metadata() -> Mapping[str, Any]:
    """Metadata of the enclosing config, where a call brings none itself."""
    config = var_child_runnable_config.get()
    return (config or {}).get("metadata") or {}


def session_of(config: RunnableConfig | None) -> str:
    """The session a config names; empty if it names none.

    Raises:
        InvalidAttribution: it is no config.
    """
    if not config:
        return ""
    if not isinstance(config, Mapping):
        remedy = 'Pass the config the graph is invoked with: {"configurable": {"thread_id": "t1"}}'
        raise InvalidAttribution("is no config", field="config", value=config, place="session", remedy=remedy)
    return named_session(config.get("metadata") or {}, config.get("configurable") or {})


def named_session(metadata: Mapping[str, Any], threads: Mapping[str, Any]) -> str:
    """The session that metadata name, else the thread; empty if there is neither. It may be the number 0."""
    named = (metadata.get("session"), threads.get("thread_id"))
    return next((str(name) for name in named if name is not None and name != ""), "")


def namespace(metadata: Mapping[str, Any]) -> str:
    """Where in a graph a call is made: the checkpoint namespace of its task."""
    return str(metadata.get("langgraph_checkpoint_ns") or metadata.get("checkpoint_ns") or "")
