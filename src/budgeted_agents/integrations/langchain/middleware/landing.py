"""How an agent lands inside its own model call: with a short answer on the landing reserve, structured where the agent
was to answer so, or else with a plain sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langgraph.types import Command

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.configs import ambient_metadata
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.interrupts import BudgetInterrupt
from budgeted_agents.integrations.langchain.governance.running_steps import passed_on
from budgeted_agents.integrations.langchain.middleware.refusals import AgentGovernance
from budgeted_agents.integrations.langchain.models.landing import (
    NO_ANSWER,
    missing_results,
    stopped_answer,
    ways_to_answer,
)


class Landing:
    """The landing of one run, step by step; the middleware only does the calling.

    Args:
        governance: what governs the run.
        request: the model call that was refused.
        refusal: why.

    Attributes:
        is_passed_on: whether a budget of the graph around this agent is spent: then the agent only ends, and that graph
            lands.
    """

    def __init__(self, governance: Governance, request: ModelRequest[Any], refusal: BudgetExceeded) -> None:
        self.governance = governance
        self._request = request
        self.is_passed_on = passed_on(refusal, governance.outer)
        self._missing: list[ToolMessage] = missing_results(request.messages)
        if governance.run.landed:
            # Something sent the agent on after it had landed: it stops where it is.
            raise BudgetInterrupt(refusal)
        if governance.run.exhaust(refusal):
            governance.meter.publish("landing", f"Landing: {refusal}", governance.run.session, run=governance.run.id)

    def requests(self) -> Iterator[ModelRequest[Any]]:
        """Calls to try in turn: of the cheapest tier that the reserve covers, over ever less of the history."""
        request = self._request
        formats = [request.response_format, None] if request.response_format is not None else [None]
        for response_format in formats:
            for model, messages, settings in ways_to_answer(self.governance, [*request.messages, *self._missing]):
                yield request.override(
                    model=model,
                    messages=cast("list[AnyMessage]", messages),
                    tools=[],
                    tool_choice=None,
                    response_format=response_format,
                    model_settings={**request.model_settings, **settings},
                )

    def answered(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> ExtendedModelResponse[Any] | None:
        """The end of the run, if this response is an answer of the kind asked for."""
        if request.response_format is None:
            last = response.result[-1] if response.result else None
            if not isinstance(last, AIMessage) or last.tool_calls:
                return None
            if not last.text.strip():
                return self.plainly(NO_ANSWER, last)
        elif response.structured_response is None:
            return None
        self.governance.run.landed = "by the default finalizer"
        return self._ended(response.result, response.structured_response)

    def plainly(self, failure: str = "", empty: AIMessage | None = None) -> ExtendedModelResponse[Any]:
        """The end of the run where no model could answer: a sentence that says why, in the ``empty`` answer if there is
        one."""
        outer = self.governance.outer
        if isinstance(outer, AgentGovernance):  # in a tool of that agent, which is often told this sentence alone
            self.governance.steps.append(outer.answered_in_tool(ambient_metadata()))
        reason = f" (the finalizer failed: {failure})" if failure else ""
        self.governance.run.landed = f"with the partial state{reason}"
        return self._ended([stopped_answer(self.governance, empty)])

    def state(self) -> dict[str, Any]:
        """What the user's own finalizer is handed: the state, with a result for every tool call."""
        return {**self._request.state, "messages": [*self._request.messages, *self._missing]}

    def finalized(self, update: Any) -> ExtendedModelResponse[Any]:
        """The end of the run with what the user's own finalizer gave: messages, a text, or an update of the state."""
        self.governance.run.landed = "by the agent's own finalizer"
        fields = dict(update) if isinstance(update, Mapping) else {"messages": update}
        messages = fields.pop("messages", None) or []
        messages = messages if isinstance(messages, list) else [messages]
        structured = fields.pop("structured_response", None)
        return self._ended([_message(message) for message in messages], structured, fields)

    def _ended(
        self, messages: list[BaseMessage], structured: Any = None, fields: Mapping[str, Any] | None = None
    ) -> ExtendedModelResponse[Any]:
        update = dict(fields or {})
        if self._request.response_format is not None and structured is None:
            update["jump_to"] = "end"  # an agent that is to answer in a structure would ask its model again
        command: Command[Any] | None = Command(update=update) if update else None
        return ExtendedModelResponse(ModelResponse([*self._missing, *messages], structured), command)


def _message(value: Any) -> BaseMessage:
    return value if isinstance(value, BaseMessage) else AIMessage(str(value))


def called(finalizer: Any, state: dict[str, Any]) -> Any:
    """What a finalizer gives for a state."""
    return finalizer.invoke(state) if hasattr(finalizer, "invoke") else finalizer(state)


async def acalled(finalizer: Any, state: dict[str, Any]) -> Any:
    """The same on an event loop; the finalizer may be a coroutine function."""
    if hasattr(finalizer, "ainvoke"):
        return await finalizer.ainvoke(state)
    update = finalizer(state)
    return await update if inspect.isawaitable(update) else update
