"""Where an agent keeps the run its middleware governs: in a private channel, which LangGraph makes anew for every run.

Middleware is shared by all runs of an agent and sees single calls of it. What belongs to one run (its session, where it
has no thread; the tier stepped down to; how often the model was asked) needs a place that lives exactly as long as the
run, in every task of it, also in the nodes of other middleware. A channel is that place. It is never filled, so it
shows in no state, no stream and no checkpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.channels.base import BaseChannel
from langgraph.errors import EmptyChannelError, InvalidUpdateError

from budgeted_agents.integrations.langchain.callbacks.handler import BudgetHandler
from budgeted_agents.integrations.langchain.governance.configs import handlers_of
from budgeted_agents.integrations.langchain.governance.governance import RUN_CHANNEL
from budgeted_agents.integrations.langchain.governance.in_force import found_by

_READ = "__pregel_read"
"""LangGraph's key for the function by which a task reads the state; its second argument is the graph's channels."""

_NOTHING: Mapping[str, Any] = {}

Opener = Callable[[RunnableConfig, BaseCallbackHandler | None], BudgetHandler]
"""Opens a run, given the config of a task of it and the handler in force around it."""


class RunChannel(BaseChannel[Any, Any, Any]):
    """Holds the handler of one run of an agent, opened at its first call."""

    __slots__ = ("_handler", "_lock", "_open")

    def __init__(self, open_run: Opener) -> None:
        super().__init__(object)
        self._open = open_run
        self._handler: BudgetHandler | None = None
        self._lock = threading.Lock()

    @property
    def opened(self) -> BudgetHandler | None:
        """The run's handler; None before its first call."""
        return self._handler

    def handler(self, config: RunnableConfig, outer: BaseCallbackHandler | None) -> BudgetHandler:
        """The run's handler; a run that has none yet is opened inside ``outer``."""
        if self._handler is None:
            with self._lock:
                if self._handler is None:
                    self._handler = self._open(config, outer)
        return self._handler

    # -- as LangGraph wants a channel ---------------------------------------------------------------------------------

    @property
    def ValueType(self) -> Any:  # noqa: N802 -- LangGraph's name
        return object

    @property
    def UpdateType(self) -> Any:  # noqa: N802 -- LangGraph's name
        return object

    def copy(self) -> Self:
        return self

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """A fresh one, at the start of every run."""
        channel = type(self)(self._open)
        channel.key = self.key
        return channel

    def get(self) -> Any:
        raise EmptyChannelError

    def is_available(self) -> bool:
        return False

    def update(self, values: Sequence[Any]) -> bool:
        if values:
            raise InvalidUpdateError(f"{self.key!r} is private to BudgetMiddleware")
        return False


def channel_of(config: RunnableConfig | None) -> RunChannel | None:
    """The channel of the agent whose task a config belongs to; None outside agents that have the middleware."""
    read = (config.get("configurable") or _NOTHING).get(_READ) if config else None
    arguments: tuple[Any, ...] = getattr(read, "args", ())
    channel = arguments[1].get(RUN_CHANNEL) if len(arguments) > 1 else None
    return channel if isinstance(channel, RunChannel) else None


def _innermost(outer: BaseCallbackHandler | None) -> BaseCallbackHandler | None:
    """The handler of the innermost run: the one in force, the one that callbacks hand down from a tool to what it
    calls, or the one of the agent that this is a task of."""
    config = var_child_runnable_config.get()
    if config is None:
        return outer
    inner = _deeper(outer, _handed_down(config))
    channel = channel_of(config)
    return inner if channel is None else _deeper(inner, channel.opened or channel.handler(config, inner))


def _handed_down(config: RunnableConfig) -> BudgetHandler | None:
    """The handler of the innermost run that a config's callbacks are of."""
    return next((handler for handler in reversed(handlers_of(config)) if isinstance(handler, BudgetHandler)), None)


def _deeper(one: BaseCallbackHandler | None, other: BaseCallbackHandler | None) -> BaseCallbackHandler | None:
    """Of two runs that are in force here, the one inside the other."""
    if one is None or other is None or one is other:
        return one or other
    return other if _depth(other) > _depth(one) else one


def _depth(handler: BaseCallbackHandler) -> int:
    return handler.governance.run.depth  # type: ignore[attr-defined,no-any-return]


# Neither other middleware, which calls models in nodes of its own, nor a tool runs where this library could set a
# context variable.
found_by(_innermost)
