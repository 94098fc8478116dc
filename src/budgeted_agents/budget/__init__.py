"""Budgets, their windows, who a call is for, and policy files."""

from budgeted_agents.budget.attribution import Attribution, ambient, attribute
from budgeted_agents.budget.budget import Budget
from budgeted_agents.budget.policy import BudgetLike, Policy, as_policy, load_policy
from budgeted_agents.budget.text import parse_budget
from budgeted_agents.budget.window import Window, WindowKind, window_at

__all__ = [
    "Attribution",
    "Budget",
    "BudgetLike",
    "Policy",
    "Window",
    "WindowKind",
    "ambient",
    "as_policy",
    "attribute",
    "load_policy",
    "parse_budget",
    "window_at",
]
