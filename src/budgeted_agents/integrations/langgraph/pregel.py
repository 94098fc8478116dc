"""What runs need from LangGraph's private modules. docs/architecture.md lists what else of it is known by name, and
``tests/langgraph/test_upstream.py`` says what changed when an upgrade moves something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import CONF, CONFIG_KEY_READ, CONFIG_KEY_SEND, ERROR, RESUME, TASKS
from langgraph._internal._runnable import RunnableCallable, RunnableSeq, coerce_to_runnable
from langgraph.errors import GraphInterrupt
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
    "has_written",
    "keep_answers",
    "shut_edges",
    "task_metadata",
    "write",
    "write_error",
]


def write(config: RunnableConfig, channel: str, value: Any) -> None:
    """Write to a channel from inside a task."""
    config[CONF][CONFIG_KEY_SEND]([(channel, value)])


def has_written(config: RunnableConfig) -> bool:
    """Whether a task has contributed something already."""
    return bool(_writes(config))


def shut_edges(config: RunnableConfig) -> None:
    """Take back the edges that a task has fired. What it contributes stays."""
    writes = _writes(config)
    contributed = [each for each in writes if not each[0].startswith(_EDGES)]
    writes.clear()
    writes.extend(contributed)


def _writes(config: RunnableConfig) -> deque[tuple[str, Any]]:
    """What a task has written so far; it is applied when the task has ended. The function that reads the state is given
    it to read behind it. (The one that writes may be wrapped, by a timeout.)"""
    return config[CONF][CONFIG_KEY_READ].args[3].writes  # type: ignore[no-any-return]


def write_error(config: RunnableConfig, error: BaseException) -> None:
    """Mark the task as not cacheable: a refusal must not be answered from the node cache once there is money again."""
    write(config, ERROR, error)


class _NoQuestion(list[Any]):
    """Nothing to ask, which LangGraph takes for something all the same."""

    def __bool__(self) -> bool:
        return True


def keep_answers(config: RunnableConfig, interrupt: GraphInterrupt) -> None:
    """Have the answers that people gave in this task kept for when it is run again. LangGraph keeps those given by an
    interrupt's id only beside another question."""
    if any(channel == RESUME for channel, _ in _writes(config)):
        interrupt.args = (_NoQuestion(),)


def task_metadata(config: RunnableConfig | None) -> Mapping[str, Any]:
    """Metadata of the task a config belongs to."""
    return (config or {}).get("metadata") or {}
