"""What the doctor's fakes answer is kept nowhere: not in checkpoints, not in stores, and in no cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache as NodeCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.doctor import examine
from tests.doctor.apps.good import KEY, LEDGER, STRICT


@pytest.fixture
def llm_cache() -> Iterator[InMemoryCache]:
    before, cache = get_llm_cache(), InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(before)


def graph_of(node: Any, **compiling: Any) -> Any:
    graph: Any = BudgetedGraph(MessagesState, budget=Budget(usd="1.00"), ledger=LEDGER)
    return graph.add_node("node", node).add_edge(START, "node").compile(**compiling)


@pytest.mark.parametrize("kind", ["plain", "governed"])
@pytest.mark.parametrize("place", ["global", "own", "asked for"])
def test_a_cache_of_answers_is_not_asked_and_keeps_no_fake_answer(
    llm_cache: InMemoryCache, place: str, kind: str
) -> None:
    own = {"global": None, "own": InMemoryCache(), "asked for": True}[place]
    plain = ChatOpenAI(model="gpt-4o", api_key=KEY, max_retries=0, max_completion_tokens=500, cache=own)
    model = budgeted_model(plain) if kind == "governed" else plain
    diagnosis = examine(graph_of(lambda state: {"messages": [model.invoke(state["messages"])]}))
    assert diagnosis.is_clean
    assert diagnosis.proof is not None
    assert diagnosis.proof.holds
    assert model.cache is own
    assert plain.cache is own
    assert get_llm_cache() is llm_cache
    assert all(not cache._cache for cache in (llm_cache, own) if isinstance(cache, InMemoryCache))


def test_a_model_that_a_node_makes_keeps_no_fake_answer(llm_cache: InMemoryCache) -> None:
    own = InMemoryCache()

    def node(state: MessagesState) -> Any:
        model = ChatOpenAI(model="gpt-4o", api_key=KEY, max_retries=0, max_completion_tokens=500, cache=own)
        return {"messages": [model.invoke(state["messages"])]}

    assert examine(graph_of(node)).is_clean
    assert not own._cache


def test_a_graph_that_a_node_calls_keeps_nothing() -> None:
    model = budgeted_model(ChatOpenAI(model="gpt-4o", api_key=KEY, max_completion_tokens=500))
    saver, store = InMemorySaver(serde=STRICT), InMemoryStore()
    cache: NodeCache[Any] = NodeCache()

    def agent(state: MessagesState) -> Any:
        get_store().put(("notes",), "said", {"by": "a fake"})
        return {"messages": [model.invoke(state["messages"])]}

    inner: Any = StateGraph(MessagesState)
    inner.add_node("agent", agent, cache_policy=CachePolicy()).add_edge(START, "agent")
    called = inner.compile(checkpointer=saver, store=store, cache=cache)
    diagnosis = examine(graph_of(lambda state: called.invoke(state, {"configurable": {"thread_id": "inner"}})))
    assert diagnosis.proof is not None
    assert diagnosis.proof.holds
    assert not saver.storage
    assert not store.search(("notes",))
    assert not cache._cache
    assert (called.checkpointer, called.store, called.cache) == (saver, store, cache)
