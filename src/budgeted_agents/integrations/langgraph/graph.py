"""``BudgetedGraph``: LangGraph's ``StateGraph`` with a budget. Without one it is ``StateGraph`` exactly, and loads
nothing besides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langgraph.graph.state import CompiledStateGraph, StateGraph
from langgraph.typing import ContextT, InputT, OutputT, StateT

from budgeted_agents.errors import InvalidGraph

if TYPE_CHECKING:
    from budgeted_agents.budget import BudgetLike
    from budgeted_agents.ledgers import LedgerLike
    from budgeted_agents.meter import BillingTable, Listener
    from budgeted_agents.prices import PriceBook
    from budgeted_agents.traces import Recorder
    from budgeted_agents.traces.records.journal import JournalLike

_OF_DICTS = "__total__"
"""What every ``TypedDict`` has, whichever module it is of: nodes that take one are handed plain dicts."""


class BudgetedGraph(StateGraph[StateT, ContextT, InputT, OutputT]):
    """A graph whose runs stay inside a budget and land with an answer when it is spent.

    Everything else is as in ``StateGraph``: models, tools and subgraphs inside its nodes are governed without a change.

    Args:
        state_schema, context_schema: as in ``StateGraph``, like all other arguments not named here.
        budget: one ``Budget``, several, or a policy file; None for a plain graph.
        ledger: where money is kept: a ledger, a URL (``"sqlite:///spend.db"``), or None for one in memory.
        prices: what models cost; by default, LiteLLM's list.
        attribution: dimensions that hold for every run, e.g. ``{"workflow": "research"}``.
        listeners: called with every ``BudgetEvent`` (alerts, downgrades, refusals, landings, ...).
        billing: which failures are certainly unbilled.
        journal: where calls are written down: a folder, False for nowhere, None for beside a ledger in a file.
        recorders: what else records calls, e.g. an ``OpenTelemetryRecorder``.

    Raises:
        InvalidBudget, InvalidPolicy: saying what is wrong and where.
        InvalidGraph: the budget stands in the place of the context schema, where it would govern nothing.
    """

    def __init__(
        self,
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        budget: BudgetLike = None,
        ledger: LedgerLike = None,
        prices: PriceBook | None = None,
        attribution: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        billing: BillingTable | None = None,
        journal: JournalLike = None,
        recorders: Sequence[Recorder] = (),
        **kwargs: Any,
    ) -> None:
        if context_schema is not None and not isinstance(context_schema, type):
            _check_is_no_budget(context_schema)
        super().__init__(state_schema, context_schema, **kwargs)
        self._finalizer: Any = None
        self._govern = (
            budget
            if budget is None
            else _governing(
                budget,
                ledger=ledger,
                prices=prices,
                attribution=attribution,
                listeners=listeners,
                billing=billing,
                journal=journal,
                recorders=recorders,
            )
        )

    def set_finalizer(self, finalizer: Any) -> Self:
        """What a run lands with once its budget is spent: a node's function, or the name of one of the graph's nodes.

        It runs once, last, may spend the landing reserve, and sees a history in which every tool call has a result.

        Raises:
            InvalidGraph: it is neither.
        """
        if isinstance(finalizer, str):
            if finalizer not in self.nodes:
                raise _invalid("names no node of this graph", finalizer)
            finalizer = self._of_node(finalizer)
        elif not callable(finalizer) and not hasattr(finalizer, "invoke"):
            raise _invalid("is neither a node function nor the name of a node", finalizer)
        self._finalizer = finalizer
        return self

    def _of_node(self, name: str) -> Any:
        """What a node runs, if it takes the graph's own state, which is what a finalizer is handed."""
        node = self.nodes[name]
        has_more = not self.schemas[node.input_schema].keys() <= self.schemas[self.state_schema].keys()
        if node.input_schema is not self.state_schema and (has_more or not hasattr(node.input_schema, _OF_DICTS)):
            raise _invalid("names a node with an input schema of its own", name, "Give a function of the graph's state")
        return node.runnable

    def compile(self, *args: Any, **kwargs: Any) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """As ``StateGraph.compile``; with a budget, the compiled graph is governed and has ``spend(config)``."""
        compiled = super().compile(*args, **kwargs)
        return compiled if self._govern is None else self._govern(compiled, finalizer=self._finalizer)


def _governing(budget: BudgetLike, **settings: Any) -> Callable[..., Any]:
    """What puts a compiled graph under this budget."""
    from budgeted_agents.budget import as_policy
    from budgeted_agents.integrations.langgraph.compiled import budgeted

    return partial(budgeted, budget=as_policy(budget), **settings)


def _check_is_no_budget(context_schema: object) -> None:
    from budgeted_agents.budget import Budget, Policy

    if isinstance(context_schema, Budget | Policy | list | tuple | str | os.PathLike):
        raise InvalidGraph(
            "is a budget in the place of StateGraph's context schema, so it would govern nothing",
            field="context_schema",
            value=context_schema,
            place="BudgetedGraph",
            remedy="Write its name before it: BudgetedGraph(State, budget=Budget(...))",
        )


def _invalid(
    problem: str, value: object, remedy: str = "Write graph.set_finalizer(wrap_up), or add the node first"
) -> InvalidGraph:
    return InvalidGraph(problem, field="finalizer", value=value, place="BudgetedGraph", remedy=remedy)
