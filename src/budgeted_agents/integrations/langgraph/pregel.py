"""The private parts of LangGraph this library touches, in one place. ``tests/langgraph/test_upstream.py`` says which of
them changed when an upgrade moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONF, CONFIG_KEY_SEND, ERROR, TASKS
from langgraph._internal._runnable import RunnableCallable, RunnableSeq, coerce_to_runnable
from langgraph.graph._node import StateNodeSpec
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.pregel._read import DEFAULT_BOUND, PregelNode

BRANCH_TO = "branch:to:{}"
"""The channel that triggers a node."""

_EDGES = (BRANCH_TO.format(""), "join:", TASKS)
"""How channels that trigger nodes begin: plain edges, edges that wait for several nodes, and ``Send``."""

__all__ = [
    "BRANCH_TO",
    "DEFAULT_BOUND",
    "CompiledStateGraph",
    "Pregel",
    "PregelNode",
    "RunnableCallable",
    "RunnableSeq",
    "StateNodeSpec",
    "coerce_to_runnable",
    "gated",
    "has_written",
    "task_metadata",
    "write",
    "write_error",
]


def write(config: RunnableConfig, channel: str, value: Any) -> None:
    """Write to a channel from inside a task."""
    config[CONF][CONFIG_KEY_SEND]([(channel, value)])


def has_written(config: RunnableConfig) -> bool:
    """Whether a task has contributed something already."""
    send = config[CONF][CONFIG_KEY_SEND]
    return bool(getattr(send, "__self__", ()))  # LangGraph's way to write is the ``extend`` of the task's writes


def gated(config: RunnableConfig, is_open: Callable[[], bool]) -> RunnableConfig:
    """A task's config with which it fires its edges only while the gate is open. What it contributes passes always."""
    send = config[CONF][CONFIG_KEY_SEND]

    def through(writes: Iterable[tuple[str, Any]]) -> None:
        send([each for each in writes if is_open() or not each[0].startswith(_EDGES)])

    return {**config, CONF: {**config[CONF], CONFIG_KEY_SEND: through}}


def write_error(config: RunnableConfig, error: BaseException) -> None:
    """Mark the task as not cacheable: a refusal must not be answered from the node cache once there is money again."""
    write(config, ERROR, error)


def task_metadata(config: RunnableConfig | None) -> Mapping[str, Any]:
    """Metadata of the task a config belongs to."""
    return (config or {}).get("metadata") or {}
