"""Counting visits of nodes of plain graphs inside a governed one: the nodes are not ours, but they are announced."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.callbacks import runs
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.meter import drive

_NODE = "graph:step:"
"""How LangGraph's tag of a node's own chain begins."""


class LoopCounter(BaseCallbackHandler):
    """Stops a node inside a run that is visited more often than ``loops`` allows.

    It is apart from the handler that governs models and tools, because counting waits for nothing: it runs on the event
    loop, where the other one may need a thread for each event.

    Args:
        governance: what governs the run.
        finalizer_name: the node the run lands on, which is not counted.
    """

    raise_error = True
    run_inline = True
    ignore_llm = True
    ignore_chat_model = True
    ignore_agent = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, governance: Governance, finalizer_name: str) -> None:
        self._governance = governance
        self._finalizer_name = finalizer_name

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        governance, metadata = self._governance, metadata or {}
        if (
            not any(tag.startswith(_NODE) for tag in tags or ())
            or metadata.get("langgraph_node") == self._finalizer_name
        ):
            return
        if current() is not governance:
            return  # a governed graph inside counts its own
        try:
            drive(runs.enter(governance, metadata))
        except BudgetExceeded as refusal:
            raise governance.refuse(refusal, metadata) from None
