"""What a refusal does to an agent: which exception says it, so that LangChain and LangGraph treat it as it should be.

Inside a tool it is the tool's answer, and the agent goes on. An agent runs its tools in a ``ToolNode``, which answers
by itself where a tool was called wrongly (``ToolInvocationError``). A refusal is raised as just that: a
``wrap_tool_call`` hook to catch it would change how LangChain builds the agent, and keep it from finding tools that
nobody has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.outputs import LLMResult
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolInvocationError

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.configs import ambient_metadata, namespace
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.interrupts import (
    BudgetInterrupt,
    RaisedAnew,
    on_exhausted,
    refusal_behind,
)
from budgeted_agents.integrations.langchain.governance.texts import texts
from budgeted_agents.integrations.langchain.governance.tool_calls import is_of_the_tool, refused_text

_TOOLS = "tools:"
"""How the place of a task of an agent's tools begins, inside the agent: its node, by the name LangChain gives it."""


class BudgetStop(RaisedAnew, GraphBubbleUp):
    """A refusal that leaves the agent as an exception: retry and fallback middleware let it through."""


class BudgetAnswer(RaisedAnew, ToolInvocationError):
    """A refusal that an agent's ``ToolNode`` answers the tool call with; its message is the answer's text."""

    def __init__(self, refusal: BudgetExceeded, answers: Sequence[str] = ()) -> None:
        super().__init__(refusal, refused_text(refusal, answers))


@dataclass(eq=False)
class AgentGovernance(Governance):
    """Governs one run of an agent.

    Attributes:
        place: where the agent is: the checkpoint namespace that those of its tasks begin with.
        answers: what calls inside its tools have answered, by the task of the tools and langchain-core's id, in a dict
            that copies with more budgets share.
    """

    place: str = ""
    answers: dict[str, dict[int, LLMResult]] = field(default_factory=dict)

    def answered(self, call: int, answer: LLMResult) -> None:
        """Remember what a call inside a tool has answered, should a later one in the same tool be refused."""
        if tool := self._tool_at(ambient_metadata()):
            self.answers.setdefault(tool, {})[call] = answer

    def tools_have_ended(self) -> None:
        """Forget what was answered inside tools: the agent is at its next step."""
        if self.answers:
            self.answers.clear()

    def answered_in_tool(self, metadata: Mapping[str, Any]) -> Mapping[int, LLMResult]:
        """What models have answered in the tool that something with this metadata is called in."""
        return self.answers.get(self._tool_at(metadata), {})

    def _tool_at(self, metadata: Mapping[str, Any]) -> str:
        """The task of this agent's tools that a call is made in; empty if it is made in none."""
        place = namespace(metadata).removeprefix(self.place)
        return place.partition("|")[0] if place.startswith(_TOOLS) else ""

    def refuse(self, error: BudgetExceeded, metadata: Mapping[str, Any]) -> BaseException:
        """The exception by which a refused call ends the run, suspends it, or is answered."""
        refused = super().refuse(error, metadata)
        # A budget that is not known here is a callback's, which would have raised or suspended by itself.
        leaving = _leaving(self, error) if error.budget in self.meter.policy.by_name else None
        if not self._tool_at(metadata):  # other middleware may have asked: nobody there knows what to make of it
            return leaving or refused
        if leaving is not None and not is_of_the_tool(error):
            return leaving
        return BudgetAnswer(error, texts(self.answered_in_tool(metadata).values()))


def refusal_to_land(governance: Governance, metadata: Mapping[str, Any], error: Exception) -> BudgetExceeded:
    """The refusal behind an error, if the run is to go on or to land because of it.

    Raises:
        BudgetStop, BudgetInterrupt: the budget that refused asks to raise, or to suspend.
        Exception: the error itself, if it is no refusal but a question to a person.
    """
    refusal = refusal_behind(governance, metadata, error)
    if refusal is None:
        raise error
    if (leaving := _leaving(governance, refusal)) is not None:
        raise leaving from None
    return refusal


def _leaving(governance: Governance, refusal: BudgetExceeded) -> BudgetStop | BudgetInterrupt | None:
    """The exception by which a refusal leaves the agent; None if its budget says that the agent lands."""
    way = on_exhausted(governance, refusal)
    if way == "raise":
        return BudgetStop(refusal)
    return BudgetInterrupt(refusal) if way == "suspend" else None
