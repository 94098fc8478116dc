"""``app.top_up(config, ...)``: more money for the session a config names, so that its refused node can go on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from budgeted_agents.budget.attribution import ambient, checked, from_metadata, passed_over
from budgeted_agents.errors import InvalidAttribution
from budgeted_agents.governor import budget_to_top_up, top_up_lines
from budgeted_agents.integrations.langchain.governance.configs import session_of
from budgeted_agents.ledgers import Balance, top_up
from budgeted_agents.meter import Meter


def top_up_session(
    meter: Meter,
    who: Mapping[str, str],
    config: RunnableConfig | None,
    amounts: Mapping[str, int],
    *,
    budget: str | None,
    id: str,
    by: str,
    reason: str,
) -> tuple[Balance, ...]:
    """Credit the accounts that a run with this config would be charged to, if ``who`` holds for every run."""
    host = meter.hosts.of(session_of(config))
    inside = () if host is None else host.budgets.values()
    named = meter.guests | {each.name: each for each in inside}
    chosen = budget_to_top_up(meter.policy, budget, named)
    if host is not None:  # the run is charged there, under these names
        meter, who, chosen = host.meter, host.attribution, host.budgets.get(chosen.name, chosen)
    attribution = _attribution(meter, who, config)
    session = attribution.get("session", "")
    if "session" in chosen.per and not session:
        remedy = 'Pass the config the graph is invoked with: {"configurable": {"thread_id": "t1"}}'
        raise InvalidAttribution("names no session", field="config", value=config, place="top_up", remedy=remedy)
    now = meter.clock()
    lines = top_up_lines(chosen, attribution, amounts, now=now)
    told = partial(meter.topped_up, session=session)
    return top_up(meter.ledger, lines, id=id, by=by, reason=reason, session=session, now=now, told=told)


def _attribution(meter: Meter, who: Mapping[str, str], config: RunnableConfig | None) -> dict[str, str]:
    """Who a run with this config is for, as its calls will be attributed.

    Raises:
        InvalidAttribution: the metadata has a value that is no name, so that another account would be credited.
    """
    full = ensure_config(config)
    metadata, policy = full.get("metadata") or {}, meter.policy
    for name in passed_over(metadata, policy.deciding):
        checked({name: metadata[name]}, place="top_up, metadata")
    who = {**who, **ambient(), **from_metadata(metadata, policy.dimensions)}
    session = session_of(full)
    return {**who, "session": session} if session else who
