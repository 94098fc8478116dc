"""Every way LangChain runs a chain, metered, enforced or refused by a callback: each call is seen exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from budgeted_agents import Budget, BudgetExceeded, CostCallback
from tests.attach.support import assert_seen_once, openai, serving

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # clients of event loops that have ended
    pytest.mark.filterwarnings("ignore:coroutine 'ahandle_event' was never awaited"),  # the tracers of refused calls
    pytest.mark.filterwarnings("ignore:Unexpected type for token usage"),  # langchain-openai's generate of two prompts
    pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"),
]

ASKED = "Which trees bear leaves?"
Way = Callable[[Runnable[Any, Any], Any, dict[str, Any]], Any]
"""Runs a chain (or the model alone) in some way, with this config."""


def chain_of(model: Any) -> Any:
    return RunnableLambda(lambda question: [HumanMessage(question)]) | model | StrOutputParser()


def invoke(chain: Any, model: Any, config: Any) -> Any:
    return chain.invoke(ASKED, config)


def stream(chain: Any, model: Any, config: Any) -> Any:
    return list(chain.stream(ASKED, config))


def batch(chain: Any, model: Any, config: Any) -> Any:
    return chain.batch([ASKED, ASKED], config)


def model_stream_events_v3(chain: Any, model: Any, config: Any) -> Any:
    return model.stream_events(ASKED, config, version="v3").output


def ainvoke(chain: Any, model: Any, config: Any) -> Any:
    return asyncio.run(chain.ainvoke(ASKED, config))


def astream(chain: Any, model: Any, config: Any) -> Any:
    async def run() -> Any:
        return [piece async for piece in chain.astream(ASKED, config)]

    return asyncio.run(run())


def abatch(chain: Any, model: Any, config: Any) -> Any:
    return asyncio.run(chain.abatch([ASKED, ASKED], config))


def astream_events_v1(chain: Any, model: Any, config: Any) -> Any:
    return asyncio.run(_events(chain, ASKED, config, "v1"))


def astream_events_v2(chain: Any, model: Any, config: Any) -> Any:
    return asyncio.run(_events(chain, ASKED, config, "v2"))


async def _events(chain: Any, start: Any, config: Any, version: Any) -> Any:
    return [event async for event in chain.astream_events(start, config, version=version)]


def model_astream_events_v3(chain: Any, model: Any, config: Any) -> Any:
    async def run() -> Any:
        events = await model.astream_events(ASKED, config, version="v3")
        answer = await events.output
        # The answer is there before the call's callbacks have run. A loop that ends now cancels them.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return answer

    return asyncio.run(run())


def astream_log(chain: Any, model: Any, config: Any) -> Any:
    async def run() -> Any:
        return [patch async for patch in chain.astream_log(ASKED, config)]

    return asyncio.run(run())


def generate_two_prompts(chain: Any, model: Any, config: Any) -> Any:
    return model.generate([[HumanMessage(ASKED)], [HumanMessage(ASKED)]], callbacks=config["callbacks"])


def sync_tool_in_async_graph(chain: Any, model: Any, config: Any) -> Any:
    @tool
    def ask(question: str) -> str:
        """Asks a model."""
        return str(chain.invoke(question))

    call = {"name": "ask", "args": {"question": ASKED}, "id": "call_1", "type": "tool_call"}
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([ask]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    return asyncio.run(graph.compile().ainvoke({"messages": [AIMessage("", tool_calls=[call])]}, config))


def async_node(chain: Any, model: Any, config: Any) -> Any:
    return asyncio.run(_graph_of(chain).ainvoke({"messages": []}, config))


def sync_node(chain: Any, model: Any, config: Any) -> Any:
    return _graph_of(chain).invoke({"messages": []}, config)


def graph_streamed_by_events(chain: Any, model: Any, config: Any) -> Any:
    return asyncio.run(_events(_graph_of(chain), {"messages": []}, config, "v2"))


def graph_streamed_by_messages(chain: Any, model: Any, config: Any) -> Any:
    return list(_graph_of(chain).stream({"messages": []}, config, stream_mode="messages"))


def _graph_of(chain: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("ask", RunnableLambda(lambda state: ASKED) | chain | (lambda text: {"messages": [AIMessage(text)]}))
    graph.add_edge(START, "ask")
    return graph.compile()


IN_GRAPHS = (
    sync_tool_in_async_graph,
    async_node,
    sync_node,
    graph_streamed_by_events,
    graph_streamed_by_messages,
)
WAYS: dict[Way, int] = {
    invoke: 1,
    stream: 1,
    batch: 2,
    model_stream_events_v3: 1,
    ainvoke: 1,
    astream: 1,
    abatch: 2,
    astream_events_v1: 1,
    astream_events_v2: 1,
    model_astream_events_v3: 1,
    astream_log: 1,
    generate_two_prompts: 2,
    **dict.fromkeys(IN_GRAPHS, 1),
}
"""Ways to run a chain, with the model calls each makes."""

BUDGETS = {"meter": None, "enforce": Budget(usd="1.00"), "refuse": Budget(usd="0.0000001")}


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
@pytest.mark.parametrize("mode", BUDGETS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
def test_each_call_is_seen_exactly_once(way: Way, mode: str, storage: str, tmp_path: Any) -> None:
    ledger = "memory://" if storage == "memory" else f"sqlite:///{tmp_path / 'spend.db'}"
    with serving() as provider:
        model = openai(provider)
        callback = CostCallback(budget=BUDGETS[mode], ledger=ledger)
        config: dict[str, Any] = {"callbacks": [callback]}
        if mode == "refuse" and way not in IN_GRAPHS:
            with pytest.raises(BudgetExceeded, match="cannot cover a call of gpt-4o"):
                way(chain_of(model), model, config)
        else:  # a refusal inside LangGraph is an interrupt: the run ends with what it has
            way(chain_of(model), model, config)
        calls = 0 if mode == "refuse" else WAYS[way]
        report = callback.spend
        assert_seen_once(report, provider, calls)
        assert len(report.tool_calls) == 0
        assert bool(report.refusals) == (mode == "refuse")
        callback.meter.ledger.close()
