"""Keeps LLM agents inside a budget.

Names are loaded when they are first used, so that importing the package is cheap and brings in no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budgeted_agents.budget import Budget, attribute
    from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded
    from budgeted_agents.integrations.langchain.callbacks.app_wide import govern_app
    from budgeted_agents.integrations.langchain.callbacks.callback import CostCallback
    from budgeted_agents.integrations.langchain.callbacks.embeddings import budgeted_embeddings
    from budgeted_agents.integrations.langchain.middleware.middleware import BudgetMiddleware
    from budgeted_agents.integrations.langchain.models.governed_model import budgeted_model
    from budgeted_agents.integrations.langgraph.compiled import budgeted
    from budgeted_agents.integrations.langgraph.graph import BudgetedGraph
    from budgeted_agents.integrations.opentelemetry import OpenTelemetryRecorder
    from budgeted_agents.ledgers import open_ledger
    from budgeted_agents.prices import PriceBook
    from budgeted_agents.reports.replay import replay
    from budgeted_agents.simulation import what_if

    __version__: str

__all__ = [
    "Budget",
    "BudgetExceeded",
    "BudgetMiddleware",
    "BudgetedAgentsError",
    "BudgetedGraph",
    "CostCallback",
    "OpenTelemetryRecorder",
    "PriceBook",
    "__version__",
    "attribute",
    "budgeted",
    "budgeted_embeddings",
    "budgeted_model",
    "govern_app",
    "open_ledger",
    "replay",
    "what_if",
]

_HOMES = {
    "Budget": "budgeted_agents.budget",
    "BudgetExceeded": "budgeted_agents.errors",
    "BudgetMiddleware": "budgeted_agents.integrations.langchain.middleware.middleware",
    "BudgetedAgentsError": "budgeted_agents.errors",
    "BudgetedGraph": "budgeted_agents.integrations.langgraph.graph",
    "CostCallback": "budgeted_agents.integrations.langchain.callbacks.callback",
    "OpenTelemetryRecorder": "budgeted_agents.integrations.opentelemetry",
    "PriceBook": "budgeted_agents.prices",
    "attribute": "budgeted_agents.budget",
    "budgeted": "budgeted_agents.integrations.langgraph.compiled",
    "budgeted_embeddings": "budgeted_agents.integrations.langchain.callbacks.embeddings",
    "budgeted_model": "budgeted_agents.integrations.langchain.models.governed_model",
    "govern_app": "budgeted_agents.integrations.langchain.callbacks.app_wide",
    "open_ledger": "budgeted_agents.ledgers",
    "replay": "budgeted_agents.reports.replay",
    "what_if": "budgeted_agents.simulation",
}
"""Where each public name lives."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("budgeted-agents")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
