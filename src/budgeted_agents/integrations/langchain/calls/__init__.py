"""One call as LangChain shows it: its settings, messages and tools, its price, and what its answer says it used."""
