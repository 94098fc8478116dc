"""``BudgetEvent``: what a budget has to say while calls go on, and which is recorded beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EventKind = Literal[
    "alert",
    "exhausted",
    "downgrade",
    "refusal",
    "landing",
    "overrun",
    "unmetered",
    "unrecorded",
    "unsettled",
    "shadow",
    "unavailable",
    "unattributed",
]


@dataclass(frozen=True, slots=True)
class BudgetEvent:
    """Something worth telling a person or a pager.

    Attributes:
        kind: what happened. ``alert`` and ``exhausted`` come once for each account and window; ``unmetered`` is an
            answer without usage, or a model, or a search it ran, without a price.
        message: the same for people.
        session: whose call brought it about.
        budget, account, unit: the account concerned, if one is.
        spent, limit: its state in its unit.
        run: the invocation it happened in, where that is known.
        at: seconds since the epoch.
    """

    kind: EventKind
    message: str
    session: str = ""
    budget: str = ""
    account: str = ""
    unit: str = ""
    spent: int = 0
    limit: int = 0
    run: str = ""
    at: float = 0.0
