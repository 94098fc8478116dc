"""The callback handler that meters, and stops, whatever chat models and tools run inside a governed run.

It is synchronous with ``raise_error`` set: langchain-core swallows what an asynchronous handler raises on half of its
paths. It takes ``on_chat_model_start`` itself, because a handler without it makes langchain-core render the whole
history to a string at every call; events it does not need are switched off for the same reason.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain import answers
from budgeted_agents.integrations.langchain.governance import Governance
from budgeted_agents.integrations.langchain.governed_model import SELF_METERED
from budgeted_agents.integrations.langchain.observed import observe
from budgeted_agents.meter import (
    Admission,
    ToolAdmission,
    admit,
    admit_tool,
    cancel,
    cancel_tool,
    drive,
    fail,
    settle,
    settle_tool,
)
from budgeted_agents.prices import Price

_TOOL_ARGUMENTS = "_to_args_and_kwargs"
"""The method in which langchain-core's tools check their arguments, before they run."""

_admitted: ContextVar[list[ToolAdmission] | None] = ContextVar("budgeted_agents_admitted_tool", default=None)


@contextmanager
def admitted(admission: ToolAdmission) -> Iterator[list[ToolAdmission]]:
    """Inside the block, the next tool to start was admitted already. Yields what no tool has taken up."""
    waiting = [admission]
    token = _admitted.set(waiting)
    try:
        yield waiting
    finally:
        _admitted.reset(token)


def is_admitted() -> bool:
    """Whether the next tool to start was admitted already."""
    return bool(_admitted.get())


class BudgetHandler(BaseCallbackHandler):
    """Governs the calls of one run.

    Attributes:
        governance: the meter and run the calls belong to.
    """

    raise_error = True
    ignore_chain = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        # A ledger that waits for a disk must not do so on the event loop: then langchain-core uses a thread.
        self.run_inline = not governance.meter.ledger.blocking
        self._models: dict[UUID, tuple[Admission, Price]] = {}
        self._tools: dict[UUID, ToolAdmission] = {}

    # Two handlers of one run are the same handler: copies made on the way must not charge twice.
    def __copy__(self) -> BudgetHandler:
        return self

    def __deepcopy__(self, memo: object) -> BudgetHandler:
        return self

    # -- models ------------------------------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        metadata = metadata or {}
        if SELF_METERED not in metadata:
            self._admit(messages[0], metadata, kwargs.get("invocation_params") or {}, run_id)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._admit([HumanMessage(prompts[0])], metadata or {}, kwargs.get("invocation_params") or {}, run_id)

    def _admit(
        self, messages: Sequence[BaseMessage], metadata: dict[str, Any], params: dict[str, Any], run_id: UUID
    ) -> None:
        governance = self.governance
        quoted = observe(governance, messages, metadata, params)
        try:
            drive(governance.check_depth(metadata, quoted.call.attribution))
            admission = drive(admit(governance.meter, governance.run, quoted.call, step=metadata.get("langgraph_step")))
        except BudgetExceeded as refusal:
            raise governance.refuse(refusal, metadata) from None
        self._models[run_id] = (admission, quoted.prices[0])

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        admission, price = self._models.pop(run_id, (None, None))
        if admission is None or price is None:
            return
        messages = [g.message for g in response.generations[0] if isinstance(g, ChatGeneration)]
        if _from_cache(messages):
            drive(cancel(self.governance.meter, admission, price, flag="cache_hit"))
            return
        answered = answers.of_messages(messages, admission.way.quote)
        drive(
            settle(
                self.governance.meter,
                admission,
                answered.usage,
                price,
                billed=answered.billed_model,
                service_tier=answered.service_tier,
                flags=answered.flags,
            )
        )

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        admission, price = self._models.pop(run_id, (None, None))
        if admission is None or price is None:
            return
        drive(fail(self.governance.meter, admission, error, price, answered=_answered(kwargs.get("response"))))

    # -- tools -------------------------------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if waiting := _admitted.get():
            self._tools[run_id] = waiting.pop()
            return
        governance, metadata = self.governance, metadata or {}
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        attribution = governance.attribution(metadata)
        steps = admit_tool(governance.meter, governance.run, name, attribution, step=metadata.get("langgraph_step"))
        try:
            self._tools[run_id] = drive(steps)
        except BudgetExceeded as refusal:
            raise governance.refuse(refusal, metadata) from None

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if admission := self._tools.pop(run_id, None):
            drive(settle_tool(self.governance.meter, admission))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        admission = self._tools.pop(run_id, None)
        if admission is None:
            return
        if _never_ran(error):
            drive(cancel_tool(self.governance.meter, admission))
        else:
            drive(settle_tool(self.governance.meter, admission, error))


def _from_cache(messages: Sequence[BaseMessage]) -> bool:
    """LangChain marks an answer out of its own LLM cache by a cost of 0 beside the original usage."""
    usage: Any = getattr(messages[0], "usage_metadata", None) if messages else None
    return bool(usage) and usage.get("total_cost") == 0


def _never_ran(error: BaseException) -> bool:
    """Whether a tool's arguments did not fit its schema: langchain-core says so in the same words as for an error of
    the tool's own, so the place it comes from tells them apart."""
    return any(frame.f_code.co_name == _TOOL_ARGUMENTS for frame, _ in traceback.walk_tb(error.__traceback__))


def _answered(response: Any) -> bool:
    """Whether part of an answer had come before the error."""
    if not isinstance(response, LLMResult) or not response.generations:
        return False
    first = response.generations[0]
    return bool(first) and isinstance(first[0], ChatGeneration) and bool(first[0].message.content)
