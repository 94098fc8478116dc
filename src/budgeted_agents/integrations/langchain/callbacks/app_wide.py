"""``govern_app``: a callback for every chain of the process."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from budgeted_agents.errors import InvalidGraph
from budgeted_agents.integrations.langchain.callbacks.callback import CostCallback


class _Slot:
    """What langchain-core asks for a handler whenever something runs, as it would ask a context variable; but the
    answer is the same in every thread and task. It cannot be unregistered, so it is used again."""

    def __init__(self) -> None:
        self.callback: CostCallback | None = None
        register_configure_hook(cast("ContextVar[BaseCallbackHandler | None]", self), inheritable=True)

    def get(self) -> CostCallback | None:
        return self.callback


_slots: list[_Slot] = []


class AppWide:
    """A callback in force for the whole process, until ``close()`` or the end of a ``with`` block."""

    def __init__(self, callback: CostCallback, slot: _Slot) -> None:
        self.callback = callback
        self._slot: _Slot | None = slot
        slot.callback = callback

    def close(self) -> None:
        """No longer govern calls that begin from now on. May be called twice."""
        if self._slot is not None:
            self._slot.callback = None
            _slots.append(self._slot)
            self._slot = None

    def __enter__(self) -> CostCallback:
        return self.callback

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def govern_app(callback: CostCallback) -> AppWide:
    """Let a callback see, and govern, every LangChain and LangGraph call of this process from now on.

    Call it once at start-up::

        govern_app(CostCallback(budget=Budget(usd="5", per="user", window="day"), ledger="sqlite:///spend.db"))

    or for a while: ``with govern_app(CostCallback()) as callback: ...``. Sessions go by ``thread_id`` or
    ``attribute(session=...)``. Several may be in force at a time; then the budgets of all hold.

    Raises:
        InvalidGraph: it is given something else than a ``CostCallback``.
    """
    if not isinstance(callback, CostCallback):
        remedy = "Write govern_app(CostCallback(...))"
        raise InvalidGraph("is not a CostCallback", field="callback", value=callback, place="govern_app", remedy=remedy)
    return AppWide(callback, _slots.pop() if _slots else _Slot())
