"""Shortening a history that outgrows ``context_tokens``."""
