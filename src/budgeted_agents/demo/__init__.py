"""The demonstration: a research agent at work under a budget, live, then the same question under three budgets."""

from budgeted_agents.demo.setting import Setting, opened
from budgeted_agents.demo.show import compare, three_budgets, watch

__all__ = ["Setting", "compare", "opened", "three_budgets", "watch"]
