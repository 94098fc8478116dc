"""Calls seen from outside: the handlers that meter and stop them, and the runs they belong to."""
