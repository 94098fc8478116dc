"""Opening a run: the budgets that hold for one invocation of an application, also inside another one's run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.runnables import RunnableConfig

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.errors import InvalidGraph
from budgeted_agents.governor import matching
from budgeted_agents.integrations.langchain.callbacks.handler import BudgetHandler
from budgeted_agents.integrations.langchain.governance.configs import namespace, session_of
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.interrupts import BudgetInterrupt
from budgeted_agents.ledgers.urls import is_same_place, place_of
from budgeted_agents.meter import Host, Meter, Run, Steps, new_id
from budgeted_agents.meter.refusals import over_cap


def open_run(
    meter: Meter,
    config: RunnableConfig,
    outer: Governance | None,
    attribution: Mapping[str, str],
    *,
    may_wait: bool = True,
    kind: Callable[..., Governance] = Governance,
) -> BudgetHandler:
    """The handler that governs one invocation.

    Args:
        meter: conducts the calls of runs that are not inside another one.
        config: of the invocation; names the session by ``thread_id``.
        outer: what governs the run around it, if anything does: its budgets hold as well.
        attribution: dimensions that hold for every run of this application.
        may_wait: whether a call may block its thread while other calls settle.
        kind: what makes the governance of the run.

    Raises:
        InvalidGraph: the run around it is kept on another ledger.
    """
    metadata = config.get("metadata") or {}
    conducting, budgets = (meter, {}) if outer is None else _inside(meter, outer.meter, metadata)
    session = outer.run.session if outer else session_of(config)
    id = new_id()
    run = Run(
        id=outer.run.id if outer else id,
        session=session or id,
        attribution={**(outer.run.attribution if outer else {}), **attribution},
        may_wait=may_wait and (outer is None or outer.run.may_wait),
        depth=outer.run.depth + 1 if outer else 1,
    )
    if outer is None:
        meter.hosts.forget(run.session)
    elif meter is not outer.meter:
        meter.hosts.add(run.session, Host(conducting, budgets, run.attribution))
    own = conducting.policy.by_name.keys() - (outer.meter.policy.by_name.keys() if outer else ())
    latest = [] if outer is None else outer.latest
    governance = kind(conducting, run, as_raised=BudgetInterrupt, latest=latest, own=frozenset(own), outer=outer)
    return BudgetHandler(governance)


def enter(governance: Governance, metadata: Mapping[str, Any]) -> Steps[None]:
    """Count a visit of a node; each time its graph is entered, counting begins anew.

    Raises:
        BudgetExceeded: the node has been visited as often as ``loops`` allows.
    """
    if "loops" not in governance.meter.policy.caps:
        return
    node = str(metadata.get("langgraph_node") or "")
    attribution = governance.attribution(metadata)
    budgets = [
        budget
        for budget in matching(governance.meter.policy, attribution)
        if budget.name in governance.own and budget.loops is not None and not budget.shadow
    ]
    if not budgets:
        return
    graph = namespace(metadata).rpartition("|")[0]
    visits = governance.run.visit(f"{graph}|{node}", metadata.get("langgraph_step"))
    for budget in budgets:
        if visits > (budget.loops or 0):
            error = over_cap(
                budget.name,
                "loops",
                needed=visits,
                limit=budget.loops or 0,
                what=f"another visit of node {node!r}",
                remedy="Raise loops, or let the graph leave the cycle earlier.",
            )
            yield from governance.meter.refused(governance.run, error, node)
            raise error


def _inside(meter: Meter, outer: Meter, metadata: Mapping[str, Any]) -> tuple[Meter, Mapping[str, Budget]]:
    """The outer meter with the inner one's budgets added: both hold, on one ledger, all or nothing. And these budgets
    as they are called there, by their own names."""
    if meter is outer:
        return outer, {}
    kept = meter.ledger.url
    if place_of(kept) != "memory://" and not is_same_place(kept, outer.ledger.url):
        raise InvalidGraph(
            "a graph inside another one has a ledger of its own, so that no call could be charged to both at once",
            field="ledger",
            value=kept,
            place=f"graph inside {outer.ledger.url}",
            remedy="Give both graphs the same ledger, or the inner one none",
        )
    # A budget that equals an outer one (a graph inside itself) is kept by keeping the outer one.
    new = [budget for budget in meter.policy.budgets if budget not in outer.policy.budgets]
    taken = {budget.name for budget in outer.policy.budgets}
    node = str(metadata.get("langgraph_node") or "inner")
    own = {budget.name: _renamed(budget, taken, node) for budget in new}
    outer.guests.update({budget.name: budget for budget in own.values()})
    classes = {**meter.policy.model_classes, **outer.policy.model_classes}
    return replace(outer, policy=Policy((*outer.policy.budgets, *own.values()), classes)), own


def _renamed(budget: Budget, taken: set[str], node: str) -> Budget:
    """Budgets of an inner graph that have an outer one's name are kept apart by the node they run in."""
    name = budget.name
    while name in taken:
        name = f"{name}/{node}" if "@" in name else f"{name}@{node}"
    return budget if name == budget.name else budget.model_copy(update={"name": name})
