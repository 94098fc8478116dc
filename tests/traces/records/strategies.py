"""Calls, events and top-ups of every kind, for Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from budgeted_agents.ledgers import Account, TopUp
from budgeted_agents.traces import BudgetEvent, CallRecord, ToppedUp

names = st.text(max_size=8)
counts = st.integers(0, 2**63 - 1)
times = st.floats(2.0**23, 1e10) | st.integers(0, 10**9).map(float)
"""Times that nanoseconds tell apart: a float's own steps are smaller only in the first months of 1970."""

hexes = st.text("0123456789abcdef", min_size=32, max_size=32)
parents = st.just("") | st.builds("00-{}-{:.16}-{:.2}".format, hexes, hexes, hexes)
token_classes = st.sampled_from(("input_tokens", "cache_read", "cache_write_1h"))
accounts = st.builds(Account, names, st.tuples() | st.tuples(st.tuples(names, names)), names, names)


def record_of(**known: Any) -> CallRecord:
    """A call of which nothing else is known: what is not given here is not drawn either."""
    return CallRecord(**known)


records = st.builds(
    record_of,
    id=names | hexes,
    kind=st.just("model"),
    operation=st.sampled_from(("", "embeddings", "text_completion")),
    session=names,
    run=names | hexes,
    started_at=times,
    ended_at=times,
    outcome=st.sampled_from(("settled", "released", "presumed")),
    step=st.none() | st.integers(-1, 5),
    attribution=st.dictionaries(names, names, max_size=3),
    model_asked=names,
    model_used=names,
    model_billed=names,
    provider=names,
    service_tier=names,
    usage=st.dictionaries(
        names | st.sampled_from(("input_tokens", "cache_read", "cache_write_1h")), counts, max_size=4
    ),
    unit_prices=st.dictionaries(names, names, max_size=3),
    price_source=names,
    reserved=counts,
    cost=counts,
    granted=counts,
    output_limit=st.none() | counts,
    reason=names,
    flags=st.lists(names, max_size=3).map(tuple),
    error=names,
    parent=parents,
    holds=st.lists(st.tuples(accounts.map(lambda account: account.key), counts, counts), max_size=3).map(tuple),
    actual=st.dictionaries(names, counts, max_size=3),
)
tool_records = st.builds(
    record_of,
    id=hexes,
    kind=st.just("tool"),
    session=names,
    run=hexes,
    started_at=times,
    ended_at=times,
    outcome=st.just("settled"),
    tool=names,
    error=names,
    booked=st.booleans(),
)
events = st.builds(
    BudgetEvent,
    kind=st.sampled_from(("alert", "refusal", "landing", "unrecorded")),
    message=names,
    session=names,
    budget=names,
    account=names,
    unit=names,
    spent=counts,
    limit=counts,
    run=names,
    at=times,
)
topped_up = st.builds(ToppedUp, st.builds(TopUp, names, accounts, counts, names, names, times), counts, names)
recorded = records | tool_records | events | topped_up
