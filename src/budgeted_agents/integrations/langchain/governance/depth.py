"""How deep a call is made: in how many graphs inside one another. Pure."""

from __future__ import annotations

from typing import Any

_CALLED = "__pregel_push"
"""How LangGraph's path of a ``@task`` begins; behind it stands the path of what has called the task."""


def graphs_around(place: str, path: Any) -> int:
    """How many graphs a call is made inside of.

    LangGraph writes the place of a ``@task`` like that of a graph inside, but a task is none. In a graph that a task
    calls, nothing tells any more that it was one.

    Args:
        place: the checkpoint namespace of the task that makes the call.
        path: LangGraph's path of that task, inside its graph. A ``@task``'s ends in True.
    """
    graphs = place.count("|") + 1
    while isinstance(path, tuple | list) and len(path) == 4 and path[0] == _CALLED and path[3] is True:
        graphs, path = graphs - 1, path[1]
    return graphs
