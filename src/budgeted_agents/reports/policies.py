"""``PolicyReport``: what a policy says, for people and for continuous integration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.budget.budget import LIMITS


@dataclass(frozen=True)
class PolicyReport:
    """A policy's budgets, in their order."""

    policy: Policy

    def to_json(self) -> dict[str, Any]:
        """A JSON object; USD as decimal strings, other limits as integers."""
        return {
            "budgets": [_budget_json(budget) for budget in self.policy.budgets],
            "model_classes": {name: list(patterns) for name, patterns in self.policy.model_classes.items()},
        }

    @staticmethod
    def limits_of(budget: Budget) -> dict[str, Any]:
        """The limits a budget gives, by name; USD as a decimal string."""
        given = {name: getattr(budget, name) for name in LIMITS}
        limits = {name: value for name, value in given.items() if value is not None}
        return limits | {"usd": str(budget.usd)} if budget.usd is not None else limits

    def __rich__(self) -> Any:
        from budgeted_agents.reports.tables import policy_table

        return policy_table(self)


def _budget_json(budget: Budget) -> dict[str, Any]:
    return {
        "name": budget.name,
        "per": list(budget.per),
        "window": budget.window,
        "where": {name: list(values) for name, values in budget.where.items()},
        "limits": PolicyReport.limits_of(budget),
        "on_exhausted": budget.on_exhausted,
        "mode": budget.mode,
    }
