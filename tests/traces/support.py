"""A call like those that are recorded."""

from __future__ import annotations

from typing import Any

from budgeted_agents.ledgers import Account
from budgeted_agents.traces import CallRecord

RUN, CALL = "ab" * 16, "0123456789abcdef" * 2
SESSION = Account("session", (("session", "t1"),))


def a_call(**fields: Any) -> CallRecord:
    known: dict[str, Any] = {
        "id": CALL,
        "kind": "model",
        "session": "t1",
        "run": RUN,
        "started_at": 1_800_000_000.25,
        "ended_at": 1_800_000_002.5,
        "outcome": "settled",
        "attribution": {"tenant": "acme", "node": "writer"},
        "model_asked": "openai/gpt-4o",
        "model_used": "openai/gpt-4o-mini",
        "model_billed": "gpt-4o-mini-2024-07-18",
        "provider": "openai",
        "usage": {
            "input_tokens": 90,
            "output_tokens": 50,
            "cache_read": 40,
            "cache_write_5m": 3,
            "cache_write_1h": 4,
        },
        "unit_prices": {"input": "0.00000015", "output": "0.0000006"},
        "price_source": "litellm 1.106.2",
        "reserved": 1_000_000,
        "cost": 135_001,
        "granted": 300,
        "output_limit": 300,
        "reason": "it is cheaper",
        "holds": ((SESSION.key, 10**9, 1_000_000),),
        "actual": {"usd": 135_001, "tokens": 950},
    }
    return CallRecord(**known | fields)
