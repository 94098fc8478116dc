"""One call of a tool by an agent: counted before it is made, and answered by a ``ToolMessage`` where it is refused."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.ledgers.units import TOOL_CALLS
from budgeted_agents.meter import Steps, ToolAdmission, admit_tool, cancel_tool

_HANDLED_INSIDE_TOOLS = frozenset({"depth"})
"""Caps whose refusal inside a tool only ends the tool: the agent that called it can go on without it."""


def admit_call(governance: Governance, request: ToolCallRequest) -> Steps[ToolAdmission]:
    """Count the call.

    Raises:
        BudgetExceeded: a cap on tool calls has been reached.
    """
    metadata = request.runtime.config.get("metadata") or {}
    return admit_tool(
        governance.meter,
        governance.run,
        request.tool_call["name"],
        governance.attribution(metadata),
        step=metadata.get("langgraph_step"),
    )


def give_back(governance: Governance, unused: list[ToolAdmission]) -> Steps[None]:
    """Give back what was held for a call that never reached its tool."""
    while unused:
        yield from cancel_tool(governance.meter, unused.pop())


def is_of_the_tool(refusal: BudgetExceeded) -> bool:
    """Whether a refusal is of the tool itself, and not of a model called inside it."""
    return refusal.unit.startswith(TOOL_CALLS) or refusal.unit in _HANDLED_INSIDE_TOOLS


def refused_call(request: ToolCallRequest, refusal: BudgetExceeded, answers: Sequence[str] = ()) -> ToolMessage:
    """The refusal as the tool's answer, so that the agent goes on."""
    call = request.tool_call
    return ToolMessage(refused_text(refusal, answers), name=call["name"], tool_call_id=call["id"] or "", status="error")


def refused_text(refusal: BudgetExceeded, answers: Sequence[str] = ()) -> str:
    """What the agent is told of it, and of what models had answered in the tool by then, which was paid for."""
    what = "was not called" if is_of_the_tool(refusal) else "had to stop"
    told = f"This tool {what}: {refusal} Go on without it and answer from what you have."
    return "\n\n".join([told, "What models had answered in it:", *answers]) if answers else told
