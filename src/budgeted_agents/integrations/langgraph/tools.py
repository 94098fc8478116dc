"""Tool caps inside ``ToolNode``: a refused call is answered by a ``ToolMessage`` that says so, and the agent goes on.

Raising instead would take the whole ``ToolNode`` down, with the results of parallel calls that already ran. The calls
are counted innermost, so that a user's own wrapper that retries a tool is charged for each attempt.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.callbacks.handler import admitted
from budgeted_agents.integrations.langchain.governance.governance import current
from budgeted_agents.integrations.langchain.governance.tool_calls import (
    admit_call,
    give_back,
    is_of_the_tool,
    refused_call,
)
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
        try:
            unused = [drive(admit_call(governance, request))]
            with admitted(unused):
                answer = base._execute_tool_sync(self, request, *args)
        except BudgetExceeded as refusal:
            return _answer(request, refusal)
        if unused:
            drive(give_back(governance, unused))
        return answer

    async def aexecute(self: Any, request: ToolCallRequest, *args: Any) -> Any:
        governance = current()
        if governance is None or request.tool is None:
            return await base._execute_tool_async(self, request, *args)
        blocking = governance.meter.ledger.blocking
        try:
            unused = [await adrive(admit_call(governance, request), blocking=blocking)]
            with admitted(unused):
                answer = await base._execute_tool_async(self, request, *args)
        except BudgetExceeded as refusal:
            return _answer(request, refusal)
        if unused:
            await adrive(give_back(governance, unused), blocking=blocking)
        return answer

    body = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), {**body, "_execute_tool_sync": execute, "_execute_tool_async": aexecute})


def _answer(request: ToolCallRequest, refusal: BudgetExceeded) -> ToolMessage:
    """The refusal as the tool's answer; refusals of model calls inside a tool are the run's to handle."""
    if not is_of_the_tool(refusal):
        raise refusal
    return refused_call(request, refusal)
