"""Events: what a budget has to say while calls go on. Listeners get them at once; the log gets them too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from budgeted_agents.traces.records.event import BudgetEvent, EventKind

logger = logging.getLogger("budgeted_agents")

Listener = Callable[[BudgetEvent], None]

_QUIET: frozenset[EventKind] = frozenset({"downgrade", "shadow"})


def publish(event: BudgetEvent, listeners: Sequence[Listener], logs: bool = True) -> None:
    """Tell the log (if ``logs``) and every listener. A listener that fails is logged and harms no call."""
    if logs:
        logger.log(logging.INFO if event.kind in _QUIET else logging.WARNING, "%s", event.message)
    for listener in listeners:
        try:
            listener(event)
        except Exception:
            logger.exception("A budget event listener failed on %r", event.kind)
