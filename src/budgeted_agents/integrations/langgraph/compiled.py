"""``budgeted(compiled)``: any compiled graph under a budget, as the same kind of compiled graph.

The compiled class overrides only ``stream`` and ``astream``, because every other entry point ends in one of them, and
``copy``, through which ``with_config`` would lose what is added here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphInterrupt

from budgeted_agents.budget import BudgetLike, as_policy
from budgeted_agents.budget.attribution import checked
from budgeted_agents.errors import BudgetExceeded, InvalidGraph
from budgeted_agents.integrations.langchain.callbacks.handler import BudgetHandler
from budgeted_agents.integrations.langchain.callbacks.on_loop import on_loop
from budgeted_agents.integrations.langchain.governance.configs import session_of
from budgeted_agents.integrations.langchain.governance.in_force import governed_by, put_in_force, restore
from budgeted_agents.integrations.langchain.governance.interrupts import on_exhausted
from budgeted_agents.integrations.langchain.governance.spending import session_report
from budgeted_agents.integrations.langchain.governance.topping_up import top_up_session
from budgeted_agents.integrations.langgraph.pregel import CompiledStateGraph, Pregel
from budgeted_agents.integrations.langgraph.settings import Settings
from budgeted_agents.integrations.langgraph.twins import triggers, twin_of, whole
from budgeted_agents.ledgers import Balance, LedgerLike
from budgeted_agents.ledgers.topping_up import amounts_of
from budgeted_agents.meter import BillingTable, Listener, new_id, open_meter
from budgeted_agents.money import UsdLike
from budgeted_agents.prices import PriceBook
from budgeted_agents.reports import SpendReport
from budgeted_agents.traces import Recorder
from budgeted_agents.traces.records.journal import JournalLike

GraphT = TypeVar("GraphT", bound=Pregel[Any, Any, Any, Any])


def budgeted(
    graph: GraphT,
    *,
    budget: BudgetLike,
    ledger: LedgerLike = None,
    finalizer: Any = None,
    prices: PriceBook | None = None,
    attribution: Mapping[str, str] | None = None,
    listeners: Sequence[Listener] = (),
    billing: BillingTable | None = None,
    journal: JournalLike = None,
    recorders: Sequence[Recorder] = (),
) -> GraphT:
    """A governed twin of a compiled graph (``create_agent``, ``create_deep_agent``, ``@entrypoint``, any other).

    Args:
        graph: the compiled graph; it is left as it is.
        budget: one ``Budget``, several, or a policy file.
        ledger: where money is kept: a ledger, a URL (``"sqlite:///spend.db"``), or None for one in memory.
        finalizer: what a run lands with: a node's function. By default, a short answer by the cheapest tier. An
            ``@entrypoint`` has no state to land with: it stops where it was refused, and goes on after a top-up.
        prices: what models cost; by default, LiteLLM's list.
        attribution: dimensions that hold for every run, e.g. ``{"workflow": "research"}``.
        listeners: called with every ``BudgetEvent``.
        billing: which failures are certainly unbilled.
        journal: where calls are written down: a folder, False for nowhere, None for beside a ledger in a file.
        recorders: what else records calls, e.g. an ``OpenTelemetryRecorder``.

    Returns:
        A compiled graph of the same kind, with ``spend(config)`` and ``top_up(config, ...)`` besides.

    Raises:
        InvalidBudget, InvalidPolicy, InvalidLedger, InvalidAttribution, InvalidGraph: saying what is wrong and where.
    """
    if not isinstance(graph, Pregel):
        remedy = "Pass what compile(), create_agent(...) or @entrypoint gave you"
        raise InvalidGraph("is not a compiled graph", field="graph", value=graph, place="budgeted", remedy=remedy)
    if "settings" in graph.__dict__:
        remedy = "Give all budgets at once, budget=[...], or make it a node of the graph that has the other budget"
        raise InvalidGraph("has a budget already", field="graph", value=graph.name, place="budgeted", remedy=remedy)
    own, who = _checked_finalizer(finalizer, graph), checked(attribution or {}, place="attribution=")
    policy = as_policy(budget)
    meter = open_meter(
        policy if isinstance(graph, CompiledStateGraph) else policy.without_landing(),
        place="budgeted",
        ledger=ledger,
        prices=prices,
        listeners=listeners,
        billing=billing,
        journal=journal,
        recorders=recorders,
    )
    return govern(graph, Settings(meter, own, attribution=who))


def _checked_finalizer(finalizer: Any, graph: Any) -> Any:
    if finalizer is not None and not isinstance(graph, CompiledStateGraph):
        remedy = "Catch BudgetExceeded in the function itself, and return what there is"
        problem = "is for graphs with a state to land with, and an @entrypoint has none"
        raise InvalidGraph(problem, field="finalizer", value=finalizer, place="budgeted", remedy=remedy)
    if finalizer is None or callable(finalizer) or hasattr(finalizer, "invoke"):
        return finalizer
    remedy = "Give a node function, e.g. def wrap_up(state): ..."
    raise InvalidGraph("is not a node function", field="finalizer", value=finalizer, place="budgeted", remedy=remedy)


def govern(graph: GraphT, settings: Settings) -> GraphT:
    """The twin itself: copied, its nodes governed, its finalizer attached, its class exchanged."""
    twin, settings = twin_of(graph, settings)
    object.__setattr__(twin, "__class__", _governed_class(type(graph)))
    twin.__dict__["settings"] = settings
    return twin


class Governed:
    """What governed graphs have besides: the settings they run under, their report, and top-ups."""

    settings: Settings

    def spend(self, config: RunnableConfig | None = None) -> SpendReport:
        """What a session has spent so far, and why: balances, calls, downgrades, refusals, landing.

        Args:
            config: names the session by ``thread_id``; without one, the latest run of this graph in this process.
        """
        session = session_of(config) or self.__dict__.get("latest_session", "")
        return session_report(self.settings.meter, session)

    def top_up(
        self,
        config: RunnableConfig,
        *,
        usd: UsdLike | None = None,
        tokens: int | None = None,
        model_calls: int | None = None,
        tool_calls: int | Mapping[str, int] | None = None,
        budget: str | None = None,
        by: str,
        reason: str = "",
        id: str | None = None,
    ) -> tuple[Balance, ...]:
        """Raise a budget's limits for good, for the accounts that a run with this config is charged to.

        A run that was suspended then goes on at the refused node with ``invoke(None, config)``.

        Args:
            config: the config the graph is invoked with; its ``thread_id`` and metadata say whose accounts are meant.
            usd, tokens, model_calls, tool_calls: what to add; ``tool_calls`` as in ``Budget``.
            budget: the budget's name; by default the one kept per session.
            by, reason: who grants it and why; both stand in the report.
            id: names the top-up, so that it may be repeated and counts once; by default a new one.

        Returns:
            The balances afterward.

        Raises:
            InvalidAmount, InvalidBudget, InvalidAttribution, InvalidReservation: what is wrong; nothing was changed.
            IdempotencyConflict: the id was used for another amount or account.
            LedgerUnavailable: the ledger cannot be written; repeat it with the same id.
        """
        amounts = amounts_of(usd=usd, tokens=tokens, model_calls=model_calls, tool_calls=tool_calls)
        whole = merge_configs(getattr(self, "config", None), config)
        id = new_id() if id is None else id
        settings = self.settings
        return top_up_session(
            settings.meter, settings.attribution, whole, amounts, budget=budget, id=id, by=by, reason=reason
        )


@lru_cache(maxsize=64)
def _governed_class(base: type[Any]) -> type[Any]:
    """A subclass of a compiled graph's class that governs its runs, and looks like it."""

    def stream(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        handler = _opened(self, config)
        config = self.settings.counting(handler.governance, config)
        with governed_by(handler):
            steps = base.stream(self, input, config, **kwargs)
        yield from _governed(steps, handler)

    async def astream(self: Any, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        handler = _opened(self, config)
        config = self.settings.counting(handler.governance, config)
        governed, awaited = governed_by(handler), on_loop()
        with governed, awaited:
            chunks = base.astream(self, input, config, **kwargs)
        async with aclosing(chunks) as steps:
            while True:
                try:
                    with governed, awaited:
                        chunk = await anext(steps)
                except StopAsyncIteration:
                    break
                except GraphInterrupt:
                    _raise_if_asked(handler)
                    raise
                yield chunk
        _raise_if_asked(handler)

    def copy(self: Any, update: dict[str, Any] | None = None) -> Any:
        twin = whole(base.copy(self, update), self)
        twin.__dict__["settings"] = self.settings
        return twin

    def get_graph(self: Any, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Any:
        return base.get_graph(_as_built(self, base), config, xray=xray)

    async def aget_graph(self: Any, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Any:
        return await base.aget_graph(_as_built(self, base), config, xray=xray)

    stream.__doc__, astream.__doc__, copy.__doc__ = base.stream.__doc__, base.astream.__doc__, base.copy.__doc__
    body = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "stream": stream,
        "astream": astream,
        "copy": copy,
        "get_graph": get_graph,
        "aget_graph": aget_graph,
        "spend": Governed.spend,
        "top_up": Governed.top_up,
    }
    return type(base.__name__, (base,), body)


def _governed(steps: Generator[Any, None, None], handler: BudgetHandler) -> Iterator[Any]:
    """The steps of a run, each made with its handler in force; between them the caller's context is untouched."""
    try:
        while True:
            before = put_in_force(handler)
            try:
                chunk = next(steps)
            except StopIteration:
                break
            except GraphInterrupt:
                _raise_if_asked(handler)
                raise
            finally:
                restore(before)
            yield chunk
    finally:
        with governed_by(handler):
            steps.close()
    _raise_if_asked(handler)


def _as_built(graph: Any, base: type[Any]) -> Any:
    """The graph as its author drew it, without the finalizer."""
    plain = whole(base.copy(graph), graph)
    plain.nodes = {name: node for name, node in graph.nodes.items() if name != graph.settings.finalizer_name}
    plain.trigger_to_nodes = triggers(plain.nodes)
    return plain


def _opened(graph: Any, config: RunnableConfig | None) -> BudgetHandler:
    settings: Settings = graph.settings
    handler = settings.open_run(config if graph.config is None else merge_configs(graph.config, config))
    graph.__dict__["latest_session"] = handler.governance.run.session
    return handler


def _raise_if_asked(handler: BudgetHandler) -> None:
    """Raise the refusal if the budget that refused says so: at the very end, when every sibling has kept its results.

    Inside another graph a refusal leaves this one as an interrupt, unless its budget says otherwise.
    """
    governance = handler.governance
    run = governance.run
    for refusal in [*run.stopped, *([run.exhausted] if run.exhausted else [])]:
        if on_exhausted(governance, refusal) == "raise":
            raise BudgetExceeded(refusal.message, **refusal.particulars)
