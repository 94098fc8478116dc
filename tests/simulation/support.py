"""Recorded calls and round prices, which several tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from budgeted_agents.budget import Budget, as_policy
from budgeted_agents.prices import PriceBook
from budgeted_agents.simulation import PolicyWhatIf, SessionWhatIf, what_if
from budgeted_agents.simulation.session import SessionOutcome
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.usage import Usage

START = 1_770_667_200.0
"""Seconds since the epoch: 2026-02-09 20:00:00 UTC."""

LARGE, SMALL = "gpt-4o-large", "gpt-4o-small"
PRICES = PriceBook(
    {
        LARGE: {
            "input_cost_per_token": "0.00001",
            "cache_read_input_token_cost": "0.000001",
            "output_cost_per_token": "0.00005",
            "max_output_tokens": 1_000,
        },
        SMALL: {
            "input_cost_per_token": "0.000001",
            "cache_read_input_token_cost": "0.0000001",
            "output_cost_per_token": "0.000005",
            "max_output_tokens": 1_000,
        },
    },
    source="test prices",
)
"""$10 and $50 for a million tokens in and out ($1 from the cache), and a tenth of that. The longest answer has 1,000
tokens."""


def call(number: int, session: str = "s1", *, tokens: int = 400, output: int = 100, **more: Any) -> TracedCall:
    """A call that begins ten seconds after the one before and takes one second. By default it has 400 tokens in and 100
    out: $0.009 by the large model."""
    known: dict[str, Any] = {
        "id": f"{session}/{number}",
        "session": session,
        "model": LARGE,
        "usage": Usage(input=tokens, output=output),
        "started_at": START + 10 * number,
        "ended_at": START + 10 * number + 1,
    }
    return TracedCall(**(known | more))


def calls(count: int, session: str = "s1", **more: Any) -> list[TracedCall]:
    return [call(number, session, **more) for number in range(count)]


def simulated(
    recorded: Iterable[TracedCall], *budgets: Budget, models: Sequence[str] = (), **more: Any
) -> PolicyWhatIf:
    """The calls under one policy of these budgets."""
    return what_if(recorded, {"policy": as_policy(list(budgets))}, models=models, prices=PRICES, **more).policies[0]


def session_of(recorded: Iterable[TracedCall], *budgets: Budget, **more: Any) -> SessionWhatIf:
    """The one session of these calls, under one policy of these budgets."""
    (session,) = simulated(recorded, *budgets, **more).sessions
    return session


def outcome_of(recorded: Iterable[TracedCall], *budgets: Budget, **more: Any) -> SessionOutcome:
    return session_of(recorded, *budgets, **more).outcome
