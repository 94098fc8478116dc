"""Chat models, messages and callbacks of LangChain under a budget."""

from budgeted_agents.integrations.langchain.app_wide import AppWide, govern_app
from budgeted_agents.integrations.langchain.callback import CostCallback
from budgeted_agents.integrations.langchain.embeddings import budgeted_embeddings
from budgeted_agents.integrations.langchain.governed_model import budgeted_model

__all__ = ["AppWide", "CostCallback", "budgeted_embeddings", "budgeted_model", "govern_app"]
