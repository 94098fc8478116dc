"""Sees model calls begin in the very task they are made in, where the handler that governs them runs in a thread.

langchain-core runs a handler whose ledger waits for a disk in a thread, which knows nothing of the task. A step that
was refused has to know the tasks of its other calls, or it would wait for ever for one that was cancelled.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from budgeted_agents.integrations.langchain.governance import scopes
from budgeted_agents.integrations.langchain.governance.governance import in_force

if TYPE_CHECKING:
    from contextvars import ContextVar


class _Witness(BaseCallbackHandler):
    """Tells a call's step of it, and does nothing else."""

    run_inline = True
    ignore_agent = True
    ignore_chain = True
    ignore_custom_event = True
    ignore_retriever = True
    ignore_retry = True

    def on_chat_model_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
        scopes.begun(run_id.int)

    def on_llm_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
        scopes.begun(run_id.int)


_WITNESS = _Witness()


class _WhereNeeded:
    """What langchain-core asks, as it would ask a context variable, for a handler more."""

    @staticmethod
    def get() -> BaseCallbackHandler | None:
        handler = in_force()
        return None if handler is None or handler.run_inline else _WITNESS


@cache
def called() -> None:
    """From now on, where the handler in force runs in threads, the witness sees its calls."""
    register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", _WhereNeeded()), inheritable=True)
