"""``budgeted_model``: a chat model that conducts its calls itself."""
