"""Plain LangGraph builders: agents as anyone writes them, which know nothing of budgets."""
