"""A governed node: it counts its visits, and when a call inside it is refused the node contributes nothing, fires no
edge, and points the run to its landing. Siblings go on and keep what they paid for.

The node's own runnable and writers are the very objects LangGraph made, so subgraph detection, caching, retries and
timeouts see nothing new.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.errors import GraphInterrupt

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current, of_graph
from budgeted_agents.integrations.langchain.governance.interrupts import (
    REFUSED,
    BudgetInterrupt,
    on_exhausted,
    refusal_behind,
)
from budgeted_agents.integrations.langchain.governance.running_steps import RunningStep, is_of
from budgeted_agents.integrations.langgraph import pregel
from budgeted_agents.integrations.langgraph.pregel import DEFAULT_BOUND, PregelNode, RunnableSeq
from budgeted_agents.meter import adrive, drive

if TYPE_CHECKING:
    from budgeted_agents.integrations.langgraph.settings import Settings


class GovernedSeq(RunnableSeq):
    """What a node runs (its function, then its writers), under a budget.

    Attributes:
        settings: of the graph.
    """

    settings: Settings

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        governance = current()
        if governance is None:
            return super().invoke(input, config, **kwargs)
        running = RunningStep(of_graph() or governance)
        try:
            with running:
                if self.settings.counts_visits(governance):
                    drive(self.settings.enter_node(governance, pregel.task_metadata(config)))
                output = super().invoke(input, config, **kwargs)
        except REFUSED as error:
            return self._stopped(running, config, error)
        if running.passed_on is not None:
            self._ended(running, config, running.passed_on)
        return output

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        governance = current()
        if governance is None:
            return await super().ainvoke(input, config, **kwargs)
        running = RunningStep(of_graph() or governance)
        try:
            with running:
                if self.settings.counts_visits(governance):
                    entering = self.settings.enter_node(governance, pregel.task_metadata(config))
                    await adrive(entering, blocking=governance.meter.ledger.blocking)
                output = await super().ainvoke(input, config, **kwargs)
        except REFUSED as error:
            await running.calls_have_ended()
            return self._stopped(running, config, error)
        if running.passed_on is not None:
            self._ended(running, config, running.passed_on)
        return output

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """How LangGraph runs a node under ``astream_events`` and ``astream_log``; there is no synchronous way."""
        governance = current()
        if governance is None:
            async for nothing in super().astream(input, config, **kwargs):
                yield nothing
            return
        running = RunningStep(of_graph() or governance)
        try:
            with running:
                if self.settings.counts_visits(governance):
                    entering = self.settings.enter_node(governance, pregel.task_metadata(config))
                    await adrive(entering, blocking=governance.meter.ledger.blocking)
                async for nothing in super().astream(input, config, **kwargs):
                    yield nothing
        except REFUSED as error:
            await running.calls_have_ended()
            self._stopped(running, config, error)
        else:
            if running.passed_on is not None:
                self._ended(running, config, running.passed_on)

    def _ended(self, running: RunningStep, config: RunnableConfig | None, refusal: BudgetExceeded) -> None:
        """Land behind what ended inside the node because a budget around it is spent. The node contributes what there
        is, but fires no edge."""
        if config is not None:
            pregel.shut_edges(config)
        self._land(running.governance, running, config, refusal)

    def _stopped(self, running: RunningStep, config: RunnableConfig | None, error: Exception) -> None:
        """Land if the budget that refused says so; else let the interrupt stop the run here."""
        governance = current() or running.governance
        refusal = refusal_behind(governance, pregel.task_metadata(config), error)
        if refusal is None or config is None:
            raise error
        if on_exhausted(governance, refusal) != "land" or not self.settings.lands:
            governance.run.exhaust(refusal)
            governance.run.stopped.append(refusal)
            interrupt = error if isinstance(error, GraphInterrupt) else BudgetInterrupt(refusal)
            pregel.keep_answers(config, interrupt)
            raise interrupt
        if not pregel.has_written(config):
            running.governance.steps.append(running.answers)
        self._land(governance, running, config, refusal)

    def _land(
        self, governance: Governance, running: RunningStep, config: RunnableConfig | None, refusal: BudgetExceeded
    ) -> None:
        """Point the run to its landing. A graph inside it only ends, with what it has; so does the run itself, where it
        is a budget of the run around it that is spent, and that one lands."""
        if config is not None:
            pregel.write_error(config, refusal)
        if not self.settings.finalizer_name:
            running.pass_on(refusal, governance)
            return
        outer = governance.outer
        if outer is not None and is_of(refusal, outer):
            outer.steps += governance.steps
            running.pass_on(refusal, outer)
            return
        if governance.run.exhaust(refusal):
            governance.meter.publish("landing", f"Landing: {refusal}", governance.run.session, run=governance.run.id)
        self.settings.landings.begin(governance, refusal)
        if config is not None:
            pregel.write(config, pregel.BRANCH_TO.format(self.settings.finalizer_name), None)


class GovernedNode(PregelNode):
    """A node whose runnable is a ``GovernedSeq``."""

    settings: Settings

    @cached_property
    def node(self) -> Runnable[Any, Any] | None:
        steps = ([] if self.bound is DEFAULT_BOUND else [self.bound]) + self.flat_writers
        if len(steps) < 2:
            return steps[0] if steps else None
        sequence = GovernedSeq(*steps, trace_policy=self.trace_policy)
        sequence.settings = self.settings
        return sequence

    def copy(self, update: dict[str, Any]) -> PregelNode:
        settings = self.__dict__.pop("settings")
        try:
            return governed_node(super().copy(update), settings)
        finally:
            self.__dict__["settings"] = settings


def governed_node(node: PregelNode, settings: Settings) -> PregelNode:
    """A governed twin of a node, which itself is left as it is."""
    twin = object.__new__(GovernedNode)
    twin.__dict__.update({name: value for name, value in node.__dict__.items() if name not in ("node", "settings")})
    twin.settings = settings
    return twin
