"""Help for tests and trials: a local LLM provider with an exact bill, and the contract every ledger keeps.

Loaded lazily: importing this package imports none of its modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from budgeted_agents.testing.bill import LIST_PRICES, ModelPrice
    from budgeted_agents.testing.conversation import Reply, Request, ToolCall
    from budgeted_agents.testing.provider import LocalProvider
    from budgeted_agents.testing.replies import extractive, fill, fixed, scripted
    from budgeted_agents.testing.research_policy import research_replies

_HOMES = {
    "LIST_PRICES": "bill",
    "LocalProvider": "provider",
    "ModelPrice": "bill",
    "Reply": "conversation",
    "Request": "conversation",
    "ToolCall": "conversation",
    "extractive": "replies",
    "fill": "replies",
    "fixed": "replies",
    "research_replies": "research_policy",
    "scripted": "replies",
}

__all__ = [
    "LIST_PRICES",
    "LocalProvider",
    "ModelPrice",
    "Reply",
    "Request",
    "ToolCall",
    "extractive",
    "fill",
    "fixed",
    "research_replies",
    "scripted",
]


if not TYPE_CHECKING:  # a type checker shall know exactly the names above

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{home}"), name)
