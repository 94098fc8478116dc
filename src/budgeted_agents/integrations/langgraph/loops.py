"""Counting visits of nodes of plain graphs inside a governed one: the nodes are not ours, but they are announced."""

from __future__ import annotations

from typing import Any

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain import runs
from budgeted_agents.integrations.langchain.governance import Governance, current
from budgeted_agents.integrations.langchain.handler import BudgetHandler
from budgeted_agents.meter import drive

_NODE = "graph:step:"
"""How LangGraph's tag of a node's own chain begins."""


class LoopHandler(BudgetHandler):
    """Governs the calls of a run, and stops a node that is visited more often than ``loops`` allows.

    Args:
        governance: what governs the run.
        finalizer_name: the node the run lands on, which is not counted.
    """

    ignore_chain = False

    def __init__(self, governance: Governance, finalizer_name: str) -> None:
        super().__init__(governance)
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
        metadata = metadata or {}
        if (
            not any(tag.startswith(_NODE) for tag in tags or ())
            or metadata.get("langgraph_node") == self._finalizer_name
        ):
            return
        if current() is not self.governance:
            return  # a governed graph inside counts its own
        try:
            drive(runs.enter(self.governance, metadata))
        except BudgetExceeded as refusal:
            raise self.governance.refuse(refusal, metadata) from None
