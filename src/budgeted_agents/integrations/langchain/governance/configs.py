"""What LangChain's and LangGraph's configs tell of a call: the session it belongs to, and where it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from budgeted_agents.errors import InvalidAttribution


def ambient_metadata() -> Mapping[str, Any]:
    """Metadata of the enclosing config, where a call brings none itself."""
    config = var_child_runnable_config.get()
    return (config or {}).get("metadata") or {}


def handlers_of(config: RunnableConfig | None) -> Sequence[Any]:
    """The callback handlers that a config hands down."""
    callbacks: Any = config.get("callbacks") if config else None
    return callbacks if isinstance(callbacks, list) else getattr(callbacks, "handlers", ())


def session_of(config: RunnableConfig | None) -> str:
    """The session a config names; empty if it names none.

    Raises:
        InvalidAttribution: it is no config.
    """
    if not config:
        return ""
    if not isinstance(config, Mapping):
        remedy = 'Pass the config the graph is invoked with: {"configurable": {"thread_id": "t1"}}'
        raise InvalidAttribution("is no config", field="config", value=config, place="session", remedy=remedy)
    return named_session(config.get("metadata") or {}, config.get("configurable") or {})


def named_session(metadata: Mapping[str, Any], threads: Mapping[str, Any]) -> str:
    """The session that metadata name, else the thread; empty if there is neither. It may be the number 0."""
    named = (metadata.get("session"), threads.get("thread_id"))
    return next((str(name) for name in named if name is not None and name != ""), "")


def namespace(metadata: Mapping[str, Any]) -> str:
    """Where in a graph a call is made: the checkpoint namespace of its task."""
    return str(metadata.get("langgraph_checkpoint_ns") or metadata.get("checkpoint_ns") or "")
