"""The events of tools: each call is admitted before it runs, counted once however many handlers see it, and settled
when it has ended."""

from __future__ import annotations

import dataclasses
import traceback
from abc import abstractmethod
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from msgspec.structs import replace

from budgeted_agents.budget import Policy
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.callbacks import open_calls
from budgeted_agents.integrations.langchain.callbacks.open_calls import OpenToolCall
from budgeted_agents.integrations.langchain.callbacks.turns import in_turn
from budgeted_agents.integrations.langchain.calls.content import ToolContent
from budgeted_agents.integrations.langchain.governance.context import Assigned
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.integrations.langchain.governance.joint import joins
from budgeted_agents.meter import ToolAdmission, admit_tool, cancel_tool, drive, settle_tool

_TOOL_ARGUMENTS = "_to_args_and_kwargs"
"""The method in which langchain-core's tools check their arguments, before they run."""

_admitted: ContextVar[list[ToolAdmission] | None] = ContextVar("budgeted_agents_admitted_tool", default=None)


def admitted(waiting: list[ToolAdmission]) -> Assigned[list[ToolAdmission] | None]:
    """Inside the block, the next tool to start was admitted already: it takes its admission out of ``waiting``."""
    return Assigned(_admitted, waiting)


class ToolEvents(BaseCallbackHandler):
    """Admits each tool call before it runs, and settles it when it has ended."""

    @abstractmethod
    def governance_of(self, metadata: dict[str, Any]) -> Governance:
        """What governs a call with this metadata."""

    def _refused_by(self, governance: Governance, refusal: BudgetExceeded) -> Governance:
        """Which of the runs a refused call is in says what is raised."""
        return governance

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        metadata = metadata or {}
        governance = self.governance_of(metadata)
        waiting = _admitted.get()
        if waiting and waiting[0].run is governance.run:
            self._add_tool(run_id, governance, waiting.pop(), kwargs.get("inputs") or input_str)
            return
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        with in_turn(run_id) as is_made:
            if is_made:
                self._start_tool(governance, name, run_id, metadata, kwargs.get("inputs") or input_str)

    def _start_tool(
        self, governance: Governance, name: str, run_id: UUID, metadata: dict[str, Any], arguments: Any
    ) -> None:
        governance = self._without_counted(governance, run_id)
        if not governance.meter.policy.counts_tools and _is_written_down_elsewhere(governance, run_id):
            return
        attribution = governance.attribution(metadata)
        steps = admit_tool(governance.meter, governance.run, name, attribution, step=metadata.get("langgraph_step"))
        try:
            self._add_tool(run_id, governance, drive(steps), arguments)
        except BudgetExceeded as refusal:
            for call in open_calls.tools.take_all(run_id):
                drive(cancel_tool(call.governance.meter, call.admission))
            raise self._refused_by(governance, refusal).refuse(refusal, metadata) from None

    def _add_tool(self, run_id: UUID, governance: Governance, admission: ToolAdmission, arguments: Any) -> None:
        if governance.meter.keeps_content:
            admission = replace(admission, content=ToolContent(arguments))
        open_calls.tools.add(run_id, self, OpenToolCall(governance, admission))

    def _without_counted(self, governance: Governance, run_id: UUID) -> Governance:
        """The governance without the budgets that another one counts this tool call in."""
        others = [call.governance for handler, call in open_calls.tools.of(run_id) if handler is not self]
        around = current()
        if around is not None and around is not governance and not others:
            others = [around]
        counted = {b.name for other in others if joins(other, governance) for b in other.meter.policy.budgets}
        policy = governance.meter.policy
        if not counted.intersection(budget.name for budget in policy.budgets):
            return governance
        rest = Policy(tuple(b for b in policy.budgets if b.name not in counted), policy.model_classes)
        return dataclasses.replace(governance, meter=dataclasses.replace(governance.meter, policy=rest))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if call := open_calls.tools.take(run_id, self):
            if call.admission.content is not None:
                call.admission.content.answered(output)
            drive(settle_tool(call.governance.meter, call.admission))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        call = open_calls.tools.take(run_id, self)
        if call is None:
            return
        if _never_ran(error) or _asks_a_person(error):
            drive(cancel_tool(call.governance.meter, call.admission))
        else:
            drive(settle_tool(call.governance.meter, call.admission, error))


def _is_written_down_elsewhere(governance: Governance, run_id: UUID) -> bool:
    """Whether another handler has seen this tool call, or the one of the run around it will."""
    around = current()
    by_run_around = around is not None and around is not governance and bool(around.meter.recorders)
    return by_run_around or bool(open_calls.tools.of(run_id))


def _never_ran(error: BaseException) -> bool:
    """Whether a tool's arguments did not fit its schema: langchain-core says so in the same words as for an error of
    the tool's own, so the place it comes from tells them apart."""
    return any(frame.f_code.co_name == _TOOL_ARGUMENTS for frame, _ in traceback.walk_tb(error.__traceback__))


def _asks_a_person(error: BaseException) -> bool:
    """Whether a tool stopped for the answer to a question (LangGraph's ``interrupt``): the call has not ended, and is
    counted when the tool begins anew with the answer."""
    return type(error).__name__ == "GraphInterrupt" and any(error.args)
