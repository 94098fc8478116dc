"""LangGraph's graphs under a budget. Each name is loaded from its own file."""
