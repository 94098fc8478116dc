"""What governs the calls made just now: a callback handler of their run, found through a context variable.

langchain-core is told to add that handler to every call made while it is set (``register_configure_hook``), so that
calls with callbacks of their own and calls in closures are seen as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from budgeted_agents.integrations.langchain.governance.context import Assigned

if TYPE_CHECKING:
    from budgeted_agents.integrations.langchain.governance.governance import Governance

_handler: ContextVar[BaseCallbackHandler | None] = ContextVar("budgeted_agents_handler", default=None)
_loop: ContextVar[tuple[asyncio.AbstractEventLoop, BaseCallbackHandler] | None] = ContextVar(
    "budgeted_agents_loop", default=None
)
_landing: ContextVar[frozenset[str]] = ContextVar("budgeted_agents_landing", default=frozenset())

Finder = Callable[[BaseCallbackHandler | None], BaseCallbackHandler | None]
"""Given the handler in force around the place where a call is made, the handler of a run inside it, if there is one."""


class _InForce:
    """The innermost handler in force. langchain-core asks it, as it would ask a context variable, at every call.

    Attributes:
        get: finds it: the context variable's own, as long as nothing else has to be asked.
    """

    def __init__(self) -> None:
        self.get: Callable[[], BaseCallbackHandler | None] = _handler.get


class _OnLoop:
    """Who admits calls on an event loop. langchain-core asks it like the handler in force, and before it."""

    @staticmethod
    def get() -> BaseCallbackHandler | None:
        loop = _loop.get()
        return loop[1] if loop is not None and asyncio._get_running_loop() is loop[0] else None


_in_force, _on_loop = _InForce(), _OnLoop()
register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", _on_loop), inheritable=True)
register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", _in_force), inheritable=True)


def found_by(finder: Finder) -> None:
    """Have a framework's own way of finding the run asked as well, where no context variable can be set."""
    around = _in_force.get

    def get() -> BaseCallbackHandler | None:
        handler = around()
        return finder(handler) or handler

    _in_force.get = get


def awaited_by(starter: BaseCallbackHandler) -> Assigned[tuple[asyncio.AbstractEventLoop, BaseCallbackHandler] | None]:
    """Inside the block, an asynchronous handler admits the calls that are made on the running event loop.

    It is to be in force where the run's handler is: handlers are handed down in the order in which they were found.
    """
    return Assigned(_loop, (asyncio.get_running_loop(), starter))


def is_on_loop() -> bool:
    """Whether this is run on the loop of the asynchronous run it belongs to: not in a thread of its, nor on the loop
    that langchain-core makes for an asynchronous handler of a synchronous call."""
    return _on_loop.get() is not None


def in_force() -> BaseCallbackHandler | None:
    """The handler of the innermost governed run this is called in."""
    return _in_force.get()


def current() -> Governance | None:
    """What governs the calls made here; None if nothing does."""
    handler = _in_force.get()
    return None if handler is None else handler.governance  # type: ignore[attr-defined]


def of_graph() -> Governance | None:
    """What governs the governed graph whose node this is called in. Where that graph is itself an agent with the
    middleware, ``current`` is the run of the agent, inside this one."""
    handler = _handler.get()
    return None if handler is None else handler.governance  # type: ignore[attr-defined]


def governed_by(handler: BaseCallbackHandler | None) -> Assigned[BaseCallbackHandler | None]:
    """Let a handler (one that has a ``governance``) see and govern every call made inside the block."""
    return Assigned(_handler, handler)


put_in_force: Callable[[BaseCallbackHandler | None], Token[BaseCallbackHandler | None]] = _handler.set
restore: Callable[[Token[BaseCallbackHandler | None]], None] = _handler.reset
"""The same in two steps, for what is done at every step of a run."""


@contextmanager
def landing(budgets: frozenset[str]) -> Iterator[None]:
    """Let the calls made inside the block spend the landing reserve of these budgets."""
    token = _landing.set(_landing.get() | budgets)
    try:
        yield
    finally:
        _landing.reset(token)


landing_budgets: Callable[[], frozenset[str]] = _landing.get
"""The budgets whose landing reserve may be spent here."""


def may_block() -> bool:
    """Whether this thread may be blocked until other calls settle: not an event loop's, nor one of the few threads that
    asyncio runs callbacks in, because other calls may need it to settle."""
    return asyncio._get_running_loop() is None and not threading.current_thread().name.startswith("asyncio_")
