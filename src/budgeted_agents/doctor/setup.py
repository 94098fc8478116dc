"""What can be said of an application's set-up without running it: ledgers, budgets, checkpoints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde import _msgpack

from budgeted_agents.budget import Budget
from budgeted_agents.doctor.findings import Finding
from budgeted_agents.doctor.trial import SPEND_LIMITS
from budgeted_agents.ledgers import Ledger
from budgeted_agents.ledgers.sqlite.location import mounts, network_file_system
from budgeted_agents.ledgers.urls import place_of

_SAFE_SQLITE = (3, 51, 3)
"""The first version without the race in which a reset of the write-ahead log can lose pages."""


def ledger_findings(ledger: Ledger) -> Iterator[Finding]:
    """Where money would be forgotten, or kept badly."""
    if ledger.url.startswith("memory://"):
        yield Finding(
            "warning",
            "memory-ledger",
            "Spend is kept in this process's memory: a restart forgets it, and each worker has a budget of its own",
            ledger.url,
            'Give a ledger that lasts: ledger="sqlite:///spend.db"',
        )
    if ledger.url.startswith("sqlite:///"):
        yield from _sqlite_findings(Path(place_of(ledger.url).removeprefix("sqlite:///")))


def _sqlite_findings(path: Path) -> Iterator[Finding]:
    kind = network_file_system(path, mounts())
    if kind:
        what = f"The ledger is on a network file system ({kind}), where SQLite cannot keep writers apart"
        yield Finding("error", "network-ledger", what, str(path), "Put the file on a local disk")
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        what = (
            f"SQLite {sqlite3.sqlite_version} has the WAL-reset race (fixed in 3.51.3). This library's writers take "
            "turns, which keeps them out of it; other programs that write the file do not"
        )
        yield Finding("note", "old-sqlite", what, str(path), "Let nothing else write the ledger file, or update SQLite")


def budget_findings(budget: Budget) -> Iterator[Finding]:
    """Budgets that do not bind."""
    where = f"Budget {budget.name!r}"
    if budget.shadow:
        yield Finding("warning", "shadow", "Only watches: it refuses nothing", where, 'Set mode="enforce"')
    elif all(getattr(budget, name) is None for name in SPEND_LIMITS):
        what = "Limits neither money, nor tokens, nor model calls"
        yield Finding("warning", "no-spend-limit", what, where, 'Give it usd="..."')


def checkpoint_findings(app: Any, suspends: bool) -> Iterator[Finding]:
    """Checkpoints that run code when they are read, or are lost when they are needed."""
    saver = getattr(app, "checkpointer", None)
    if not saver:
        if suspends:
            what = "A suspended run cannot be resumed: the graph has no checkpointer"
            yield Finding("warning", "suspend-without-checkpoints", what, "checkpointer", "Compile with a checkpointer")
        return
    where = type(saver).__name__
    serde = getattr(saver, "serde", None)
    if getattr(serde, "pickle_fallback", False):
        what = "Checkpoints may hold pickles, and reading one runs whatever it holds"
        yield Finding("error", "pickle", what, where, "Use JsonPlusSerializer(pickle_fallback=False)")
    if not _is_strict(serde):
        what = "Strict msgpack is off: reading a checkpoint imports and calls whatever types it names"
        yield Finding("warning", "unsafe-checkpoints", what, where, "Set LANGGRAPH_STRICT_MSGPACK=true")
    if suspends and isinstance(saver, InMemorySaver):
        what = "Suspended runs are kept in this process's memory: a restart forgets them"
        yield Finding("warning", "memory-checkpoints", what, where, "Use a checkpointer that lasts, e.g. SqliteSaver")


def _is_strict(serde: object) -> bool:
    """Whether only types on a list are read; what the serializer itself was told counts for more than the setting."""
    allowed = getattr(serde, "_allowed_msgpack_modules", None)
    return allowed is not True if hasattr(serde, "_allowed_msgpack_modules") else _msgpack.STRICT_MSGPACK_ENABLED
