"""``BudgetMiddleware``: agents of ``create_agent``. Needs the package langchain."""
