"""Keeps LLM agents inside a budget.

Names are loaded when they are first used, so that importing the package is cheap and brings in no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded

    __version__: str

__all__ = ["BudgetExceeded", "BudgetedAgentsError", "__version__"]

_HOMES = {
    "BudgetExceeded": "budgeted_agents.errors",
    "BudgetedAgentsError": "budgeted_agents.errors",
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
