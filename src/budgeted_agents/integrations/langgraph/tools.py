"""Tool caps inside ``ToolNode``: a refused call is answered by a ``ToolMessage`` that says so, and the agent goes on.

Raising instead would take the whole ``ToolNode`` down, with the results of parallel calls that already ran. So a model
call that is refused inside a tool is answered likewise, and the node passes on that the run is to land. The calls are
counted innermost, so that a user's own wrapper that retries a tool is charged for each attempt.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest

from budgeted_agents.integrations.langchain.callbacks.tool_events import admitted
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.integrations.langchain.governance.interrupts import REFUSED, on_exhausted, refusal_behind
from budgeted_agents.integrations.langchain.governance.running_steps import RunningStep
from budgeted_agents.integrations.langchain.governance.texts import texts
from budgeted_agents.integrations.langchain.governance.tool_calls import (
    admit_call,
    give_back,
    is_of_the_tool,
    refused_call,
)
from budgeted_agents.integrations.langgraph import pregel
from budgeted_agents.meter import adrive, drive


def governed_tool_node(node: ToolNode) -> ToolNode:
    """A twin of a ``ToolNode`` whose calls are counted and capped by whatever governs the run."""
    twin = copy.copy(node)
    twin.__class__ = _governed_class(type(node))
    twin.func, twin.afunc = twin._func, twin._afunc  # the copies are bound to the original
    return twin


@lru_cache(maxsize=64)
def _governed_class(base: type[ToolNode]) -> type[ToolNode]:
    """A subclass of a ``ToolNode`` class that admits each call, and looks like it."""

    def execute(self: Any, request: ToolCallRequest, *args: Any) -> Any:
        governance = current()
        if governance is None or request.tool is None:
            return base._execute_tool_sync(self, request, *args)
        running = RunningStep(governance)
        try:
            unused = [drive(admit_call(governance, request))]
            with running, admitted(unused):
                answer = base._execute_tool_sync(self, request, *args)
        except REFUSED as error:
            return _answer(running, request, error)
        if unused:
            drive(give_back(governance, unused))
        return _passing_on(running, answer)

    async def aexecute(self: Any, request: ToolCallRequest, *args: Any) -> Any:
        governance = current()
        if governance is None or request.tool is None:
            return await base._execute_tool_async(self, request, *args)
        running, blocking = RunningStep(governance), governance.meter.ledger.blocking
        try:
            unused = [await adrive(admit_call(governance, request), blocking=blocking)]
            with running, admitted(unused):
                answer = await base._execute_tool_async(self, request, *args)
        except REFUSED as error:
            await running.calls_have_ended()
            return _answer(running, request, error)
        if unused:
            await adrive(give_back(governance, unused), blocking=blocking)
        return _passing_on(running, answer)

    body = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**body, "_execute_tool_sync": execute, "_execute_tool_async": aexecute})


def _answer(running: RunningStep, request: ToolCallRequest, error: Exception) -> ToolMessage:
    """The refusal as the tool's answer. Where it was a model call inside the tool, the run lands behind it, unless the
    budget says otherwise."""
    governance = running.governance
    refusal = refusal_behind(governance, request.runtime.config.get("metadata") or {}, error)
    if refusal is None:
        raise error
    lands = on_exhausted(governance, refusal) == "land"
    if not is_of_the_tool(refusal) and not (lands and running.pass_on(refusal, governance)):
        raise error
    pregel.write_error(request.runtime.config, refusal)
    return refused_call(request, refusal, texts(running.answers.values()))


def _passing_on(running: RunningStep, answer: Any) -> Any:
    """The answer of a tool in which something may have ended because the run is to land."""
    if running.passed_on is not None:
        running.pass_on(running.passed_on, running.governance)
    return answer
