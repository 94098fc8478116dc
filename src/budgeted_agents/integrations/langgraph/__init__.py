"""LangGraph's graphs under a budget."""

from budgeted_agents.integrations.langgraph.compiled import budgeted
from budgeted_agents.integrations.langgraph.graph import BudgetedGraph

__all__ = ["BudgetedGraph", "budgeted"]
