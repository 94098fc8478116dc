"""A twin of a compiled graph whose nodes are governed, and so are those of graphs that are its nodes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from langgraph.channels import LastValue

from budgeted_agents.integrations.langchain.governance.governance import RUN_CHANNEL
from budgeted_agents.integrations.langgraph.landing import Finalizer
from budgeted_agents.integrations.langgraph.node import governed_node
from budgeted_agents.integrations.langgraph.pregel import (
    CompiledStateGraph,
    Pregel,
    PregelNode,
    RunnableCallable,
    StateNodeSpec,
    coerce_to_runnable,
)
from budgeted_agents.integrations.langgraph.settings import FINALIZER, Settings

GraphT = TypeVar("GraphT", bound=Pregel[Any, Any, Any, Any])

_TOOL_NODES = "langgraph.prebuilt.tool_node"

_ROOT = "__root__"
"""The channel of a state that is one value."""

_SET_BY_COMPILE = ("_output_mapper", "_state_mapper", "_serde_allowlist")


def twin_of(graph: GraphT, settings: Settings) -> tuple[GraphT, Settings]:
    """The twin with a finalizer to land on, and the settings that name it. The graph itself is left as it is."""
    twin = whole(graph.copy(), graph)
    twin.nodes, twin.channels = dict(graph.nodes), dict(graph.channels)
    if isinstance(twin, CompiledStateGraph):
        settings = _attach_finalizer(twin, settings)
    else:
        settings = replace(settings, lands=False)
    twin.nodes = _governed(twin.nodes, settings)
    twin.trigger_to_nodes = triggers(twin.nodes)
    return twin, settings


def whole(copied: GraphT, graph: GraphT) -> GraphT:
    """A copy with what ``Pregel.copy`` leaves behind: attributes that ``compile`` sets beside its constructor."""
    for name in _SET_BY_COMPILE:
        if name in graph.__dict__:
            copied.__dict__[name] = graph.__dict__[name]
    return copied


def triggers(nodes: Mapping[str, PregelNode]) -> dict[str, list[str]]:
    """The nodes that each channel triggers."""
    triggered: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for trigger in node.triggers:
            triggered.setdefault(trigger, []).append(name)
    return triggered


def _governed(nodes: Mapping[str, PregelNode], settings: Settings) -> dict[str, PregelNode]:
    return {name: governed_node(_prepared(node, settings), settings) for name, node in nodes.items()}


def _prepared(node: PregelNode, settings: Settings) -> PregelNode:
    """The node with what it runs governed, if that is a graph or a ``ToolNode``."""
    if isinstance(node.bound, Pregel):
        inner = _inside(node.bound, settings)
        listed = [inner] if node.subgraphs else []  # one that keeps no checkpoints is not
        return node.copy({"bound": inner, "subgraphs": listed})
    if _TOOL_NODES not in sys.modules:  # where there is one, its module is loaded; loading it takes long
        return node
    from langgraph.prebuilt import ToolNode

    from budgeted_agents.integrations.langgraph.tools import governed_tool_node

    return node.copy({"bound": governed_tool_node(node.bound)}) if isinstance(node.bound, ToolNode) else node


def _inside(graph: GraphT, settings: Settings) -> GraphT:
    """A graph that is a node of a governed one: where a call in it is refused, it ends with what it has, which would be
    lost if it were stopped, and the graph around it lands. One that has a budget of its own is left alone."""
    if "settings" in graph.__dict__ or RUN_CHANNEL in graph.channels:
        return graph
    twin = whole(graph.copy(), graph)
    twin.nodes = _governed(graph.nodes, replace(settings, finalizer_name="", lands=True))
    return twin


def _attach_finalizer(twin: CompiledStateGraph[Any, Any, Any, Any], settings: Settings) -> Settings:
    taken = set(twin.nodes)
    name = next(name for name in (FINALIZER, *(f"{FINALIZER}_{n}" for n in range(2, 99))) if name not in taken)
    rearms = any(spec.defer for spec in twin.builder.nodes.values())
    replaces = any(isinstance(twin.channels.get(name), LastValue) for name in ("messages", _ROOT))
    settings = replace(settings, finalizer_name=name, rearms=rearms, replaces_messages=replaces)
    finalizer = Finalizer(settings, settings.finalizer)
    spec: StateNodeSpec[Any, Any] = StateNodeSpec(
        coerce_to_runnable(_node_function(finalizer), name=name, trace=True),
        metadata=None,
        input_schema=twin.builder.state_schema,
        retry_policy=None,
        cache_policy=None,
        defer=True,
    )
    twin.attach_node(name, spec)
    return settings


def _node_function(finalizer: Finalizer) -> Any:
    return RunnableCallable(finalizer.run, finalizer.arun)
