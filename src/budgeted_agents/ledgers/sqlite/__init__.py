"""A ledger in one SQLite file, shared by the processes of one host."""

from budgeted_agents.ledgers.sqlite.ledger import SqliteLedger

__all__ = ["SqliteLedger"]
