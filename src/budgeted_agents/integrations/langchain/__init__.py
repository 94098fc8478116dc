"""Chat models, messages and callbacks of LangChain under a budget."""

from budgeted_agents.integrations.langchain.governed_model import budgeted_model

__all__ = ["budgeted_model"]
