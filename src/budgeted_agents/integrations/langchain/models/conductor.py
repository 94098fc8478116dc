"""Who conducts a call of a ``budgeted_model``: the run around it, and the callbacks that have seen it start.

A callback hands such a call over (``open_calls.handed_over``) under the id langchain-core gives it. Half of
langchain-core's paths do not tell a model that id, so the call is kept in a context variable while the model is called.
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
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current
from budgeted_agents.integrations.langchain.governance.joint import joined
from budgeted_agents.integrations.langchain.models.caching import keeping_if


class _Call:
    """A call of a governed model: its id, and whether its answer is what was asked for, and not less."""

    __slots__ = ("is_as_asked", "run_id")

    def __init__(self, run_id: UUID | None) -> None:
        self.run_id = run_id
        self.is_as_asked = True


_call: ContextVar[_Call | None] = ContextVar("budgeted_agents_call", default=None)


def conductor(run_manager: Any) -> Governance | None:
    """What governs the call a model makes now: all that does, as one; None if nothing does."""
    called = _call.get() if run_manager is None else run_manager
    run_id = None if called is None else called.run_id
    handed_over = [] if run_id is None else open_calls.handed_over.take_all(run_id)
    lead = current() or next(iter(handed_over), None)
    return None if lead is None else joined(lead, handed_over)


def gave_less() -> None:
    """The call made here was answered by another model than the first, or shorter than asked, or to a part of it."""
    if (call := _call.get()) is not None:
        call.is_as_asked = False


def told_its_run_id(base: type[BaseChatModel]) -> dict[str, Callable[..., Any]]:
    """Methods of a chat-model class through which every call goes, so that the call's id is known below them."""

    def _generate_with_cache(self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        call = _Call(run_manager.run_id if run_manager else None)
        model: Any = keeping_if(self, lambda: call.is_as_asked)
        with Assigned(_call, call):
            return base._generate_with_cache(model, messages, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self: Any, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        call = _Call(run_manager.run_id if run_manager else None)
        model: Any = keeping_if(self, lambda: call.is_as_asked)
        with Assigned(_call, call):
            return await base._agenerate_with_cache(model, messages, stop=stop, run_manager=run_manager, **kwargs)

    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:
        config = _with_run_id(config)
        chunks, running = base.stream(self, input, config, **kwargs), Assigned(_call, _Call(config["run_id"]))
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
        running = Assigned(_call, _Call(config["run_id"]))
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
