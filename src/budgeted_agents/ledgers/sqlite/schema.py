"""The tables of a ledger file, as a list of migrations: each adds one step, none is ever edited.

``application_id`` says that a file is ours, ``user_version`` how many migrations it has been through.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from budgeted_agents.errors import InvalidLedger, LedgerError

APPLICATION_ID = 0x42_75_41_67
"""``BuAg``, in the header of every ledger file."""

Migration = Callable[[sqlite3.Connection], object]

_migrations: list[Migration] = []


def migration(step: Migration) -> Migration:
    """Append a step to the list."""
    _migrations.append(step)
    return step


@migration
def accounts_and_reservations(db: sqlite3.Connection) -> None:
    """Balances by account; reservations with what they hold and were charged as JSON, in the order of the holds."""
    db.execute(
        "CREATE TABLE accounts (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, lim INTEGER NOT NULL,"
        " spent INTEGER NOT NULL, held INTEGER NOT NULL, credit INTEGER NOT NULL, presumed INTEGER NOT NULL) STRICT"
    )
    db.execute(
        "CREATE TABLE reservations (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL,"
        " body TEXT, state TEXT NOT NULL, granted INTEGER NOT NULL, holds TEXT NOT NULL, reserved_at REAL NOT NULL,"
        " deadline REAL NOT NULL, closed_at REAL, actual TEXT NOT NULL, late INTEGER NOT NULL, memo TEXT NOT NULL,"
        " record TEXT NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX reservations_by_session ON reservations (session, seq)")
    db.execute("CREATE INDEX reservations_by_deadline ON reservations (deadline, seq) WHERE state = 'reserved'")


@migration
def credits_and_notes(db: sqlite3.Connection) -> None:
    """Top-ups, so that each counts once; notes, which move no money."""
    db.execute(
        "CREATE TABLE credits (id TEXT PRIMARY KEY, key TEXT NOT NULL, amount INTEGER NOT NULL, at REAL NOT NULL,"
        " memo TEXT NOT NULL) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE notes (seq INTEGER PRIMARY KEY, session TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL)"
        " STRICT"
    )
    db.execute("CREATE INDEX notes_by_session ON notes (session, seq)")


@migration
def forgetting(db: sqlite3.Connection) -> None:
    """The time up to which ended reservations may have been deleted: one row, once that was done."""
    db.execute("CREATE TABLE forgotten (one INTEGER PRIMARY KEY CHECK (one = 1), until REAL NOT NULL) STRICT")


def prepare(db: sqlite3.Connection, path: str) -> None:
    """Bring a new or older file up to date. Call inside a write transaction.

    Raises:
        InvalidLedger: the file is another program's database.
        LedgerError: the file was written by a newer version of this library.
    """
    owner, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if owner != APPLICATION_ID:
        _claim(db, path)
    if version > len(_migrations):
        raise LedgerError(
            f"The ledger {path} has schema {version}, and this version of budgeted_agents knows {len(_migrations)} "
            "at most. Nothing was changed. Upgrade budgeted_agents here, as you did where the ledger is written."
        )
    for step in _migrations[version:]:
        step(db)
    if version < len(_migrations):
        db.execute(f"PRAGMA user_version = {len(_migrations)}")


def _claim(db: sqlite3.Connection, path: str) -> None:
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise InvalidLedger(
            "is a database of another program",
            field="path",
            value=path,
            place="open_ledger",
            remedy="Give the ledger a file of its own",
        )
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
