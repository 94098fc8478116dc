"""Chat models, messages and callbacks of LangChain under a budget. Each name is loaded from its own file."""
