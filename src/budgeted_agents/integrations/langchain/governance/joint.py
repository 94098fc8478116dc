"""Several governances of one call as one: one reservation, in which the budgets of all of them hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.budget.budget import LIMITS
from budgeted_agents.governor import tightest_on_context
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.ledgers import Ledger
from budgeted_agents.ledgers.urls import is_same_place

_AMOUNTS = tuple(name for name in LIMITS if name != "tool_calls")
_SAME_ACCOUNT = ("per", "window", "timezone", "where", "mode")


def joins(one: Governance, other: Governance) -> bool:
    """Whether a call governed by both is one entry of one session in one ledger."""
    return one.run.session == other.run.session and same_ledger(one.meter.ledger, other.meter.ledger)


def same_ledger(one: Ledger, other: Ledger) -> bool:
    """Whether two ledgers keep the same money. Every unnamed ledger in memory keeps its own."""
    return one is other or is_same_place(one.url, other.url)


def joined(lead: Governance, others: Iterable[Governance]) -> Governance:
    """The leading governance with the budgets, the listeners and the recorders of the others.

    Raises:
        InvalidBudget: two budgets of one name are kept over different accounts.
    """
    for other in others:
        if other.meter is lead.meter:
            continue
        policy = joint_policy(lead.meter.policy, other.meter.policy)
        listeners = tuple(dict.fromkeys((*lead.meter.listeners, *other.meter.listeners)))
        recorders = tuple(dict.fromkeys((*lead.meter.recorders, *other.meter.recorders)))
        meter = replace(lead.meter, policy=policy, listeners=listeners, recorders=recorders)
        lead = replace(lead, meter=meter, parts=(lead, other))
    return lead


def joint_policy(one: Policy, other: Policy) -> Policy:
    """Both policies. Budgets that charge the same account become one, with the tighter of each limit.

    Raises:
        InvalidBudget: two budgets of one name are kept over different accounts.
    """
    budgets = list(one.budgets)
    for budget in other.budgets:
        twin = next((i for i, known in enumerate(budgets) if _same_account(known, budget)), None)
        if twin is None:
            budgets.append(budget)
        else:
            budgets[twin] = _tighter(budgets[twin], budget)
    return Policy(tuple(budgets), {**other.model_classes, **one.model_classes})


def _same_account(one: Budget, other: Budget) -> bool:
    return one.name == other.name and all(getattr(one, name) == getattr(other, name) for name in _SAME_ACCOUNT)


def _tighter(one: Budget, other: Budget) -> Budget:
    if one == other:
        return one
    changes: dict[str, Any] = {}
    for name in _AMOUNTS:
        limits = [limit for limit in (getattr(one, name), getattr(other, name)) if limit is not None]
        if limits:
            changes[name] = min(limits)
    if (capped := tightest_on_context((one, other))) is not None:
        changes["context_overflow"] = capped.context_overflow
    tools = _tighter_tools(one.tool_limits, other.tool_limits)
    return one.model_copy(update=changes | ({"tool_calls": tools} if tools else {}))


def _tighter_tools(one: Any, other: Any) -> dict[str, int]:
    return {name: min(limits[name] for limits in (one, other) if name in limits) for name in {*one, *other}}
