"""One SQLite file: who may write when, how durably, and what happens when it fails. Knows nothing of ledgers' verbs.

Writers take turns (see ``turns``). Checkpoints happen at a commit or at the last close, so also within a turn, where no
other writer can restart the log under them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from budgeted_agents.errors import BudgetedAgentsError, LedgerUnavailable
from budgeted_agents.ledgers.sqlite import schema
from budgeted_agents.ledgers.sqlite.location import check_location, refused
from budgeted_agents.ledgers.sqlite.turns import Turns

PATIENCE = 3.0
"""How long to wait for a lock that another program holds on the file, or for a turn that does not come."""


class Store:
    """A ledger file, open in this process: one connection that writes and one that reads, each behind a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock = Lock()
        self._read_lock = Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._turns: Turns | None = None
        self._inode = 0
        self._synchronous = ""
        self._closed = False

    def open(self) -> None:
        """Check the place, create or migrate the file, and connect.

        Raises:
            InvalidLedger: the path cannot be a ledger.
            LedgerError: the file is newer than this library.
            LedgerUnavailable: the storage fails.
        """
        check_location(self.path)
        with self._write_lock:
            self._connect()
        _close_before_fork(self)

    @contextlib.contextmanager
    def write(self, durable: bool) -> Iterator[sqlite3.Connection]:
        """A write transaction. ``durable``: it survives a power cut once this returns; else a process's death only."""
        with self._write_lock, self._translated():
            self._ready()
            with self._turn(), _transaction(self._prepared("FULL" if durable else "NORMAL")) as db:
                yield db

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for single SELECT statements; it waits for no writer."""
        with self._read_lock, self._translated():
            if self._reader is None:
                with self._write_lock:
                    self._ready()
            assert self._reader is not None
            yield self._reader

    def close(self) -> None:
        """Let go of the file for good. The last connection of all processes folds the log into the file."""
        with self._read_lock, self._write_lock:
            self._closed = True
            self._disconnect()

    def pause(self) -> None:
        """Wait for the verbs under way, disconnect, and hold all others until ``resume``."""
        self._read_lock.acquire()
        self._write_lock.acquire()
        self._disconnect()

    def resume(self) -> None:
        """Go on after ``pause``; the next verb connects again."""
        self._write_lock.release()
        self._read_lock.release()

    def _disconnect(self) -> None:
        turns = self._turns
        if turns is None:
            return
        with contextlib.suppress(LedgerUnavailable), turns.turn():  # SQLite keeps a close apart from writers as well
            self._close_connections()
        self._close_connections()
        turns.close()
        self._turns = None

    def _close_connections(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    # Below here the write lock is held.

    def _ready(self) -> None:
        if self._closed:
            raise LedgerUnavailable(f"The ledger {self.path} is closed. Open it again with open_ledger.")
        if self._writer is None:
            self._connect()

    def _connect(self) -> None:
        with self._translated():
            self._turns = Turns(self.path.with_name(f"{self.path.name}-queue"), PATIENCE)
            try:
                with self._turn():
                    self._writer, self._reader = self._connections()
            except BaseException:
                self._turns.close()
                self._turns = None
                raise
            self._inode = self.path.stat().st_ino
            self._synchronous = ""

    def _connections(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        writer, reader = self._connection(), self._connection()
        try:
            with _transaction(writer):
                schema.prepare(writer, str(self.path))
            _turn_on_log(writer, self.path)
            reader.execute("PRAGMA query_only = ON")
        except BaseException as error:
            writer.close()
            reader.close()
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                raise refused("is not a database", self.path, "Name a new file, or a ledger file") from None
            raise
        return writer, reader

    def _connection(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)

    def _prepared(self, synchronous: str) -> sqlite3.Connection:
        assert self._writer is not None
        self._check_same_file()
        if synchronous != self._synchronous:
            self._writer.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        return self._writer

    def _check_same_file(self) -> None:
        """A file deleted or replaced while open would swallow what is written to it."""
        try:
            same = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise LedgerUnavailable(
                f"The ledger file {self.path} was removed or replaced while it was open, so nothing was written. "
                "Put it back, or open the ledger again."
            )

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        assert self._turns is not None
        return self._turns.turn()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Foreign errors end here."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(
                f"The ledger {self.path} cannot be read or written ({error}), so no call is admitted. "
                "Check the disk's free space, the file's permissions, and that no other program has it locked."
            ) from error


def _turn_on_log(db: sqlite3.Connection, path: Path) -> None:
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise refused(f"cannot have a write-ahead log here (it is {mode!r})", path, "Put the file on a local disk")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """An error of ours is a decision, made before the verb's own writes: what was reaped before it stands."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BudgetedAgentsError:
        db.execute("COMMIT")
        raise
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_hooked = False


def _close_before_fork(store: Store) -> None:
    """SQLite's locks must not be carried into a forked child: every store disconnects before a fork and both sides
    connect again at their next verb."""
    global _hooked
    _open_stores.add(store)
    if not _hooked and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
        _hooked = True


_fork_lock = Lock()
_forking: list[Store] = []


def _before_fork() -> None:
    _fork_lock.acquire()
    _forking[:] = list(_open_stores)
    for store in _forking:
        store.pause()


def _after_fork() -> None:
    for store in _forking:
        store.resume()
    _forking.clear()
    _fork_lock.release()
