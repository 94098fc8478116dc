"""Who conducts a call of a ``budgeted_model``: the run around it, and the callbacks that have seen it start.

A callback hands such a call over (``open_calls.handed_over``) under the id langchain-core gives it. Half of
langchain-core's paths do not tell a model that id, so it is kept in a context variable while the model is called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.utils.uuid import uuid7

from budgeted_agents.integrations.langchain.callbacks import open_calls
from budgeted_agents.integrations.langchain.governance.context import Assigned
from budgeted_agents.integrations.langchain.governance.governance import Governance, current
from budgeted_agents.integrations.langchain.governance.joint import joined

_run_id: ContextVar[UUID | None] = ContextVar("budgeted_agents_run_id", default=None)


def conductor(run_manager: Any) -> Governance | None:
    """What governs the call a model makes now: all that does, as one; None if nothing does."""
    run_id = run_manager.run_id if run_manager is not None else _run_id.get()
    handed_over = [] if run_id is None else open_calls.handed_over.take_all(run_id)
    lead = current() or next(iter(handed_over), None)
    return None if lead is None else joined(lead, handed_over)


def told_its_run_id(base: type[BaseChatModel]) -> dict[str, Callable[..., Any]]:
    """Methods of a chat-model class through which every call goes, so that the call's id is known below them."""

    def _generate_with_cache(self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        with Assigned(_run_id, run_manager.run_id if run_manager else None):
            return base._generate_with_cache(self, messages, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        with Assigned(_run_id, run_manager.run_id if run_manager else None):
            return await base._agenerate_with_cache(self, messages, stop=stop, run_manager=run_manager, **kwargs)

    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        config = _with_run_id(config)
        chunks, running = base.stream(self, input, config, **kwargs), Assigned(_run_id, config["run_id"])
        try:
            while True:
                try:
                    with running:
                        chunk = next(chunks)
                except StopIteration:
                    return
                yield chunk
        finally:
            chunks.close()  # type: ignore[attr-defined]

    async def astream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        config = _with_run_id(config)
        running = Assigned(_run_id, config["run_id"])
        async with aclosing(base.astream(self, input, config, **kwargs)) as chunks:  # type: ignore[type-var]
            while True:
                try:
                    with running:
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                yield chunk

    stream.__doc__, astream.__doc__ = base.stream.__doc__, base.astream.__doc__
    methods = (_generate_with_cache, _agenerate_with_cache, stream, astream)
    return {method.__name__: method for method in methods}


def _with_run_id(config: Any) -> dict[str, Any]:
    given: dict[str, Any] = dict(config or {})
    return {**given, "run_id": given.get("run_id") or uuid7()}
