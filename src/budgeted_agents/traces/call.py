"""``TracedCall``: one call as some trace tells of it, whoever wrote it. It carries no prompt, answer or arguments."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from budgeted_agents.prices import Price
from budgeted_agents.usage import Usage

Kind = Literal["model", "embedding", "tool", "statement"]
"""A ``statement`` is no call: it is what a trace says of a whole session, in sum."""

MODEL_KINDS: frozenset[Kind] = frozenset({"model", "embedding"})
"""The kinds of calls that a model answers."""

NO_USAGE = Usage()

# What an importer knows about the quality of a call's figures.
OUTPUT_LOWER_BOUND = "output_lower_bound"
CACHE_NOT_RECORDED = "cache_not_recorded"
CACHE_TTL_UNKNOWN = "cache_ttl_unknown"
ESTIMATED = "tokens_estimated"
NO_USAGE_RECORDED = "no_usage"
CLIENT_CACHE_HIT = "client_cache_hit"
LOCAL_MODEL = "local_model"
SYNTHETIC = "synthetic"
RECORDED_TWICE = "recorded_twice"
"""Another instrumentation wrote the call down too; it counts once."""

PRICED_BY_LOG = "priced_by_log"
"""No list has a price of the model: its cost is by the one that its own trace states."""

MAY_BE_SUM = "may_be_a_sum"
"""Nothing in a part of a file tells whether its figures are those of calls below it; the whole file does."""


class TracedCall(msgspec.Struct, kw_only=True, gc=False):
    """A model call, an embedding, a tool call, or a statement about a session.

    Attributes:
        id: names the call in all files: calls of one id are the same call written several times.
        session: the conversation it belongs to.
        kind: what it is.
        trace, span, parent: where it stands in its trace; empty where the format has no such thing.
        model: the name to price it by: what the provider answered with, else what was asked for.
        model_asked: the model asked for, if the trace says both.
        provider: who served it, in the trace's own word.
        usage: its tokens, in disjoint classes.
        service_tier: the service tier it was served at.
        region: the region it was served in, if a price may depend on that and the trace says so.
        recorded_cost: USD the trace itself records for it; None if it records none.
        logged_price: the price of its model as the trace itself states it, if it does. It explains a recorded cost and
            stands in where no list has a price, but proves nothing: who wrote the one wrote the other.
        started_at, ended_at: seconds since the epoch; 0 where unknown.
        node: the agent or graph node that made it.
        tool: a tool call's tool.
        fingerprint: a digest of a tool call's arguments, to find the same call again.
        tools: ``(tool, fingerprint)`` of the tool calls that a model's answer asks for, where tools have no spans.
        attribution: tenant, user, feature, cost_center, workflow, environment, tags, as far as the trace says.
        flags: what is known about the quality of its figures (the names above).
        error: the class of the error that ended it, or a short word; empty if none did.
        calls: of a statement: how many model calls it speaks of; 1 for a call.
        turns: of a statement: how many things the user asked for; 0 where unknown.
        succeeded: of a statement: whether the session reached its goal; None where unknown.
        is_ours: whether it is a record of this library's own. Nothing is part of it: where no span is current, the
            first call of a run is the parent of the others.
        line: the line of its file it stands in, from 1; 0 where lines mean nothing.
    """

    id: str
    session: str
    kind: Kind = "model"
    trace: str = ""
    span: str = ""
    parent: str = ""
    model: str = ""
    model_asked: str = ""
    provider: str = ""
    usage: Usage = NO_USAGE
    service_tier: str = ""
    region: str = ""
    recorded_cost: Decimal | None = None
    logged_price: Price | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    node: str = ""
    tool: str = ""
    fingerprint: str = ""
    tools: tuple[tuple[str, str], ...] = ()
    attribution: Mapping[str, str] = {}
    flags: tuple[str, ...] = ()
    error: str = ""
    calls: int = 1
    turns: int = 0
    succeeded: bool | None = None
    is_ours: bool = False
    line: int = 0
