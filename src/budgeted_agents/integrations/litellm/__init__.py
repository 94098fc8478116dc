"""Models by LiteLLM name. Importing LiteLLM takes seconds, so nothing here does until a model is made."""

from budgeted_agents.integrations.litellm.models import chat_model, stay_offline

__all__ = ["chat_model", "stay_offline"]
