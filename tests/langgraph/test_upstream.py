"""The private parts of LangGraph and LangChain this library relies on. When an upgrade moves one, this says which, and
what it is for; the rest of the suite would only say that something is broken."""

from __future__ import annotations

import asyncio
import inspect
import re
from importlib import import_module
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig  # noqa: TC002 -- LangGraph reads a node's signature

# (module, attribute path, what we do with it)
RELIED_ON = [
    ("langgraph._internal._constants", "CONF", "writing from inside a task (integrations/langgraph/pregel.py)"),
    ("langgraph._internal._constants", "CONFIG_KEY_SEND", "writing from inside a task (pregel.py)"),
    ("langgraph._internal._constants", "CONFIG_KEY_READ", "writes and channels of a task (pregel.py, channel.py)"),
    ("langgraph._internal._constants", "TASKS", "edges made by Send (pregel.py)"),
    ("langgraph._internal._constants", "RESUME", "answers of people in a task that is suspended (pregel.py)"),
    ("langgraph._internal._constants", "PUSH", "how the path of a @task begins (governance/depth.py)"),
    ("langgraph._internal._constants", "ERROR", "marking a refused task as not cacheable (pregel.py)"),
    ("langgraph._internal._runnable", "RunnableCallable", "the finalizer's node (twins.py)"),
    ("langgraph._internal._runnable", "RunnableSeq.invoke", "GovernedSeq overrides it (node.py)"),
    ("langgraph._internal._runnable", "RunnableSeq.ainvoke", "GovernedSeq overrides it (node.py)"),
    ("langgraph._internal._runnable", "RunnableSeq.astream", "GovernedSeq overrides it (node.py)"),
    ("langgraph._internal._runnable", "coerce_to_runnable", "a user's finalizer as a runnable (landing.py)"),
    ("langgraph.graph._node", "StateNodeSpec", "attaching the finalizer (twins.py)"),
    ("langgraph.graph.state", "CompiledStateGraph.attach_node", "attaching the finalizer (twins.py)"),
    ("langgraph.pregel", "Pregel.stream", "every synchronous entry point ends in it (compiled.py)"),
    ("langgraph.pregel", "Pregel.astream", "every asynchronous entry point ends in it (compiled.py)"),
    ("langgraph.pregel", "Pregel.copy", "with_config ends in it (compiled.py)"),
    ("langgraph.pregel", "Pregel._output_mapper", "given to copies (twins.py)"),
    ("langgraph.pregel", "Pregel._state_mapper", "given to copies (twins.py)"),
    ("langgraph.pregel._read", "DEFAULT_BOUND", "nodes without a function (node.py)"),
    ("langgraph.pregel._read", "PregelNode.node", "GovernedNode overrides it (node.py)"),
    ("langgraph.pregel._read", "PregelNode.flat_writers", "edges are writers (node.py)"),
    ("langgraph.pregel._read", "PregelNode.copy", "GovernedNode overrides it (node.py)"),
    ("langgraph.prebuilt", "ToolNode._execute_tool_sync", "each call of a tool is admitted there (tools.py)"),
    ("langgraph.prebuilt", "ToolNode._execute_tool_async", "each call of a tool is admitted there (tools.py)"),
    ("langgraph.prebuilt", "ToolNode._func", "bound again on the copy (tools.py)"),
    ("langgraph.prebuilt", "ToolNode._afunc", "bound again on the copy (tools.py)"),
    ("langgraph.checkpoint.serde._msgpack", "STRICT_MSGPACK_ENABLED", "unsafe checkpoints (doctor/setup.py)"),
    ("langchain_core.runnables.config", "var_child_runnable_config", "the enclosing config (governance.py)"),
    ("langchain_core.tracers.context", "register_configure_hook", "the handler sees every call (governance.py)"),
    ("langchain_core.language_models", "BaseChatModel._generate", "budgeted_model overrides it (governed_model.py)"),
    ("langchain_core.language_models", "BaseChatModel._agenerate", "budgeted_model overrides it (governed_model.py)"),
    ("langchain_core.language_models", "BaseChatModel._stream", "budgeted_model overrides it (governed_model.py)"),
    ("langchain_core.language_models", "BaseChatModel._astream", "budgeted_model overrides it (governed_model.py)"),
    ("langchain_core.language_models", "BaseChatModel._get_ls_params", "marks conducted models (governed_model.py)"),
    ("langchain_core.language_models", "BaseChatModel._generate_with_cache", "told the call's id (conductor.py)"),
    ("langchain_core.language_models", "BaseChatModel._agenerate_with_cache", "told the call's id (conductor.py)"),
    ("langchain_core.runnables.configurable", "RunnableConfigurableFields._prepare", "stays ours (governed_model.py)"),
    ("langchain_core.tools", "BaseTool._to_args_and_kwargs", "arguments that do not fit (tool_events.py)"),
    ("langchain_openai", "ChatOpenAI.model_fields.root_client", "its SDK's retries are turned off (clients.py)"),
    ("langchain_openai", "ChatOpenAI.model_fields.root_async_client", "likewise (clients.py)"),
    ("langchain_openai", "ChatOpenAI.model_fields.use_responses_api", "what its limit is called (introspect.py)"),
    ("langchain_openai", "ChatOpenAI.model_fields.stream_usage", "usage at the end of streams (introspect.py)"),
    ("langchain_anthropic", "ChatAnthropic._client", "made anew without retries (clients.py)"),
    ("langchain_anthropic", "ChatAnthropic._async_client", "made anew without retries (clients.py)"),
    ("langchain_litellm", "ChatLiteLLM.model_fields.model_kwargs", "max_retries=0 for the SDK (clients.py)"),
]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "path", "use"), RELIED_ON, ids=[f"{module}.{path}" for module, path, _ in RELIED_ON]
)
def test_what_we_rely_on_is_where_it_was(module: str, path: str, use: str) -> None:
    found: Any = import_module(module)
    for name in path.split("."):
        present = name in found if isinstance(found, dict) else hasattr(found, name)
        assert present, f"{module}.{path} has moved: {name!r} is gone. It is used for: {use}"
        found = found[name] if isinstance(found, dict) else getattr(found, name)


SIGNATURES = [
    ("langgraph._internal._runnable", "RunnableSeq.__init__", ["self", "steps", "trace_policy"]),
    ("langgraph.graph._node", "StateNodeSpec.__init__", ["metadata", "input_schema", "retry_policy", "defer"]),
    ("langgraph.graph.state", "CompiledStateGraph.attach_node", ["self", "key", "node"]),
    ("langgraph.pregel._read", "PregelNode.copy", ["self", "update"]),
    ("langgraph.prebuilt", "ToolNode._execute_tool_sync", ["self", "request", "input_type", "config"]),
    ("langgraph.prebuilt", "ToolNode._execute_tool_async", ["self", "request", "input_type", "config"]),
]


@pytest.mark.parametrize(("module", "path", "names"), SIGNATURES, ids=[path for _, path, _ in SIGNATURES])
def test_what_we_call_takes_what_we_give(module: str, path: str, names: list[str]) -> None:
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    missing = set(names) - set(inspect.signature(found).parameters)
    assert not missing, f"{module}.{path} no longer takes {sorted(missing)}"


def test_edges_are_still_triggered_by_the_channel_we_write_to() -> None:
    from langgraph.graph import START, StateGraph

    from budgeted_agents.integrations.langgraph.pregel import BRANCH_TO
    from tests.langgraph.support import State

    graph: Any = StateGraph(State)
    graph.add_node("work", lambda state: state)
    graph.add_edge(START, "work")
    channel = BRANCH_TO.format("work")
    assert channel in graph.compile().channels, f"nodes are no longer triggered by {channel!r} (pregel.py: BRANCH_TO)"


def test_a_deferred_node_is_still_triggered_by_the_same_channel() -> None:
    from langgraph.graph import START, StateGraph

    from tests.langgraph.support import State

    graph: Any = StateGraph(State)
    graph.add_node("last", lambda state: state, defer=True)
    graph.add_edge(START, "last")
    assert graph.compile().nodes["last"].triggers == ["branch:to:last"]


def test_a_task_still_reads_behind_what_it_has_written() -> None:
    """Edges are taken back there when a call behind them was refused (pregel.py: shut_edges)."""
    from langgraph.graph import START, StateGraph

    from budgeted_agents.integrations.langgraph.pregel import BRANCH_TO, has_written, shut_edges, write
    from tests.langgraph.support import State

    found: list[bool] = []

    async def work(state: State, config: RunnableConfig) -> None:
        write(config, "visits", 7)
        write(config, BRANCH_TO.format("next"), None)
        found.append(has_written(config))
        shut_edges(config)

    graph: Any = StateGraph(State)
    graph.add_node("work", work, timeout=30)
    graph.add_node("next", lambda state: found.append(False))
    graph.add_edge(START, "work")
    assert asyncio.run(graph.compile().ainvoke({"messages": [], "visits": 0}))["visits"] == 7
    assert found == [True]


def test_a_task_still_reads_from_the_channels_of_its_graph() -> None:
    """The run of an agent is found there (integrations/langchain/middleware/channel.py)."""
    from langgraph.graph import START, StateGraph

    from tests.langgraph.support import State

    found: list[set[str]] = []

    def work(state: State, config: RunnableConfig) -> None:
        found.append(set(config["configurable"]["__pregel_read"].args[1]))

    graph: Any = StateGraph(State)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    app = graph.compile()
    app.invoke({"messages": [], "visits": 0})
    assert found == [set(app.channels)]


def test_a_nodes_own_chain_is_still_tagged_with_its_step() -> None:
    """Visits of nodes of plain graphs are told by it (integrations/langgraph/loops.py)."""
    from langchain_core.callbacks import BaseCallbackHandler
    from langgraph.graph import START, StateGraph

    from tests.langgraph.support import State

    found: list[Any] = []

    class Tags(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, tags: list[str] | None = None, **kwargs: Any) -> None:
            found.append(tags)

    graph: Any = StateGraph(State)
    graph.add_node("work", lambda state: None)
    graph.add_edge(START, "work")
    graph.compile().invoke({"messages": [], "visits": 0}, {"callbacks": [Tags()]})
    assert ["graph:step:1"] in found


def test_what_is_set_beside_a_constructor_is_still_called_so() -> None:
    """Copies of graphs are given it (integrations/langgraph/twins.py), and the doctor reads it (doctor/setup.py)."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.graph import START, StateGraph

    from tests.langgraph.support import State

    graph: Any = StateGraph(State)
    graph.add_node("work", lambda state: None)
    graph.add_edge(START, "work")
    assert {"_output_mapper", "_state_mapper", "_serde_allowlist"} <= vars(graph.compile()).keys()
    assert hasattr(JsonPlusSerializer(), "_allowed_msgpack_modules")


def test_native_streaming_is_still_told_by_the_methods_we_take_away() -> None:
    """With it, calls would go past what a budgeted model conducts (integrations/langchain/models/governed_model.py)."""
    from langchain_core.language_models import chat_models

    names = set(re.findall(r'"(_a?stream_chat_model_events)"', inspect.getsource(chat_models)))
    assert names == {"_stream_chat_model_events", "_astream_chat_model_events"}


def test_an_empty_interrupt_is_still_neither_retried_nor_raised() -> None:
    """Suspending rests on it (integrations/langgraph/interrupts.py)."""
    from langgraph.errors import GraphInterrupt
    from langgraph.graph import START, StateGraph
    from langgraph.types import RetryPolicy

    from tests.langgraph.support import State

    tried = []

    def stop(state: State) -> None:
        tried.append(1)
        raise GraphInterrupt(())

    graph: Any = StateGraph(State)
    graph.add_node("stop", stop, retry_policy=RetryPolicy(max_attempts=5, retry_on=Exception))
    graph.add_edge(START, "stop")
    state = graph.compile().invoke({"messages": [], "visits": 7})
    assert state["visits"] == 7
    assert tried == [1]


def test_an_answer_from_the_llm_cache_is_still_marked_by_its_cost() -> None:
    """Hits are told from calls by it (integrations/langchain/callbacks/endings.py)."""
    from langchain_core.caches import InMemoryCache
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    usage: Any = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    model = GenericFakeChatModel(messages=iter([AIMessage("fine", usage_metadata=usage)]), cache=InMemoryCache())
    first, second = model.invoke("Who?"), model.invoke("Who?")
    found: list[Any] = [first.usage_metadata, second.usage_metadata]
    assert [usage.get("total_cost") for usage in found] == [None, 0]
