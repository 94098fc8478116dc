"""Tool caps inside ``ToolNode``: a refused call is answered by a ``ToolMessage`` that says so, and the agent goes on.

Raising instead would take the whole ``ToolNode`` down, with the results of parallel calls that already ran.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance import Governance, current
from budgeted_agents.integrations.langchain.handler import admitted
from budgeted_agents.meter import Steps, ToolAdmission, admit_tool, adrive, cancel_tool, drive

Answer = Any
Execute = Callable[[ToolCallRequest], Answer]
AsyncExecute = Callable[[ToolCallRequest], Awaitable[Answer]]

_HANDLED_INSIDE_TOOLS = frozenset({"depth"})
"""Caps whose refusal inside a tool only ends the tool: the agent that called it can go on without it."""


def governed_tool_node(node: ToolNode) -> ToolNode:
    """A twin of a ``ToolNode`` whose calls are counted and capped by whatever governs the run."""
    twin = copy.copy(node)
    inner, ainner = node._wrap_tool_call, node._awrap_tool_call
    twin._wrap_tool_call = _wrapper(inner)
    if inner is None or ainner is not None:
        twin._awrap_tool_call = _awrapper(ainner)
    else:  # the user gave only a synchronous wrapper: asynchronous calls go through it, as they did before
        twin._awrap_tool_call = None
    # RunnableCallable keeps bound methods of the original.
    twin.func, twin.afunc = twin._func, twin._afunc
    return twin


def _wrapper(inner: Any) -> Callable[[ToolCallRequest, Execute], Answer]:
    def wrap(request: ToolCallRequest, execute: Execute) -> Answer:
        def run(request: ToolCallRequest) -> Answer:
            governance = current()
            if governance is None:
                return execute(request)
            try:
                admission = drive(_admit(governance, request))
                with admitted(admission) as unused:
                    answer = execute(request)
            except BudgetExceeded as refusal:
                return _answer(request, refusal)
            drive(_unused(governance, unused))
            return answer

        return run(request) if inner is None else inner(request, run)

    return wrap


def _awrapper(inner: Any) -> Callable[[ToolCallRequest, AsyncExecute], Awaitable[Answer]]:
    async def awrap(request: ToolCallRequest, execute: AsyncExecute) -> Answer:
        async def run(request: ToolCallRequest) -> Answer:
            governance = current()
            if governance is None:
                return await execute(request)
            blocking = governance.meter.ledger.blocking
            try:
                admission = await adrive(_admit(governance, request), blocking=blocking)
                with admitted(admission) as unused:
                    answer = await execute(request)
            except BudgetExceeded as refusal:
                return _answer(request, refusal)
            await adrive(_unused(governance, unused), blocking=blocking)
            return answer

        return await run(request) if inner is None else await inner(request, run)

    return awrap


def _admit(governance: Governance, request: ToolCallRequest) -> Steps[ToolAdmission]:
    metadata = request.runtime.config.get("metadata") or {}
    return admit_tool(
        governance.meter,
        governance.run,
        request.tool_call["name"],
        governance.attribution(metadata),
        step=metadata.get("langgraph_step"),
    )


def _unused(governance: Governance, admissions: list[ToolAdmission]) -> Steps[None]:
    """Give back what was held for a call that never reached its tool (an unknown tool, arguments that do not fit)."""
    for admission in admissions:
        yield from cancel_tool(governance.meter, admission)


def _answer(request: ToolCallRequest, refusal: BudgetExceeded) -> ToolMessage:
    """The refusal as the tool's answer; refusals of model calls inside a tool are the run's to handle."""
    if not refusal.unit.startswith("tool_calls") and refusal.unit not in _HANDLED_INSIDE_TOOLS:
        raise refusal
    call = request.tool_call
    text = f"This tool was not called: {refusal} Go on without it and answer from what you have."
    return ToolMessage(text, name=call["name"], tool_call_id=call["id"] or "", status="error")
