"""Empty storage in the place of what keeps answers, so that no fake answer outlives a trial."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.globals import get_llm_cache, set_llm_cache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore


@contextmanager
def empty_storage() -> Iterator[None]:
    """Inside the block every graph that is alive, also one that a node calls, has empty checkpoints and an empty
    store and no cache, and LangChain's own cache of answers is off. (That of a single model is its fake's business.)
    Graphs that share a checkpointer or a store share one here as well."""
    graphs: list[Any] = [found for found in gc.get_objects() if issubclass(type(found), Pregel)]
    before = [(graph.checkpointer, graph.store, graph.cache) for graph in graphs]
    llm_cache = get_llm_cache()
    empty: dict[int, Any] = {}
    try:
        set_llm_cache(None)
        for graph in graphs:
            if isinstance(graph.checkpointer, BaseCheckpointSaver):
                graph.checkpointer = empty.setdefault(id(graph.checkpointer), InMemorySaver())
            if isinstance(graph.store, BaseStore):
                graph.store = empty.setdefault(id(graph.store), InMemoryStore())
            graph.cache = None
        yield
    finally:
        set_llm_cache(llm_cache)
        for graph, kept in zip(graphs, before, strict=True):
            graph.checkpointer, graph.store, graph.cache = kept
