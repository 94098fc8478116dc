"""Admission of calls that are made on an event loop, in the very task they are made in.

The handlers that govern are synchronous, and could only block the loop while a call waits for money. An asynchronous
one alone would not do: what it raises is swallowed where langchain-core is synchronous. So this one goes before the
handler in force where a call can be awaited, and that handler finds the call admitted.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, HumanMessage

from budgeted_agents.integrations.langchain.callbacks.handler import BudgetHandler
from budgeted_agents.integrations.langchain.governance.context import Assigned
from budgeted_agents.integrations.langchain.governance.in_force import awaited_by, in_force, is_on_loop


class _Starter(BaseCallbackHandler):
    """Sees calls start, and nothing else."""

    raise_error = True
    run_inline = True
    ignore_agent = True
    ignore_chain = True
    ignore_custom_event = True
    ignore_retriever = True
    ignore_retry = True

    @property
    def ignore_chat_model(self) -> bool:
        """In a thread langchain-core would make an event loop just to hear that there is nothing to await."""
        return not is_on_loop()

    @property
    def ignore_llm(self) -> bool:
        return not is_on_loop()

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        handler = in_force()
        if isinstance(handler, BudgetHandler) and is_on_loop():
            await handler.start_on_loop(messages[0], run_id, parent_run_id, metadata or {}, kwargs)

    async def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **kwargs: Any) -> None:
        await self.on_chat_model_start(serialized, [[HumanMessage(prompts[0])]], **kwargs)


_STARTER = _Starter()


def on_loop() -> Assigned[Any]:
    """Inside the block, calls that are made on the running event loop may wait on it for money."""
    return awaited_by(_STARTER)
