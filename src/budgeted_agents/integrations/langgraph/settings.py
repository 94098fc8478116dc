"""What a governed graph is governed by, and how a run of it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs

from budgeted_agents.integrations.langchain.callbacks import runs
from budgeted_agents.integrations.langchain.callbacks.handler import BudgetHandler
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.integrations.langgraph.begun_landings import BegunLandings
from budgeted_agents.integrations.langgraph.loops import LoopCounter
from budgeted_agents.meter import Meter, Steps

FINALIZER = "finalizer"
"""Name of the node a run lands on."""


@dataclass(frozen=True)
class Settings:
    """A graph's own budgets, and the meter they are conducted by.

    Attributes:
        meter: conducts the calls of runs that are not inside another governed run.
        finalizer: the user's finalizer, None for the default one.
        lands: whether there is a landing: a graph without a state (``@entrypoint``) has nothing to land with, and stops
            where it can go on.
        finalizer_name: the node it is attached under; empty for a graph inside another one, which lands for it.
        replaces_messages: whether an update of ``messages`` replaces the history, for want of a reducer.
        rearms: whether the graph has deferred nodes of its own, which the finalizer lets go first.
        attribution: dimensions that hold for every run of this graph.
        landings: those on the way, which a later invocation may have to bring to their end.
    """

    meter: Meter
    finalizer: Any = None
    lands: bool = True
    finalizer_name: str = FINALIZER
    replaces_messages: bool = False
    rearms: bool = False
    attribution: Mapping[str, str] = field(default_factory=dict)
    landings: BegunLandings = field(default_factory=BegunLandings)

    def enter_node(self, governance: Governance, metadata: Mapping[str, Any]) -> Steps[None]:
        """Count a visit of a node.

        Raises:
            BudgetExceeded: the node has been visited as often as ``loops`` allows.
        """
        if metadata.get("langgraph_node") != self.finalizer_name:
            yield from runs.enter(governance, metadata)

    @staticmethod
    def counts_visits(governance: Governance) -> bool:
        """Whether some budget caps loops, so that nodes have to be entered."""
        return "loops" in governance.meter.policy.caps

    def open_run(self, config: RunnableConfig | None) -> BudgetHandler:
        """The handler that governs one invocation of the graph."""
        return runs.open_run(self.meter, ensure_config(config), current(), self.attribution)

    def counting(self, governance: Governance, config: RunnableConfig | None) -> RunnableConfig | None:
        """The config of a run, in which visits of nodes are counted if some budget caps loops."""
        if not self.counts_visits(governance):
            return config
        counter = LoopCounter(governance, self.finalizer_name)
        # The rest stays as given: LangGraph goes by what a config says itself, apart from what encloses it.
        return {**(config or {}), "callbacks": merge_configs(config, {"callbacks": [counter]}).get("callbacks")}
