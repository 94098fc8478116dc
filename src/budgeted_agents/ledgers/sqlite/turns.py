"""Writers of one file take turns: an advisory lock (``flock``) on a file beside the database.

The kernel serves those who wait about in the order they came, where SQLite's own lock is polled and starves some.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock, Thread

from budgeted_agents.errors import LedgerUnavailable

try:
    import fcntl
except ImportError:  # Windows: no queue, so writers are kept apart by SQLite's own lock alone
    fcntl = None  # type: ignore[assignment]


class Turns:
    """One process's place in the queue of a file's writers. Its owner lets one thread in at a time.

    Args:
        path: the file to lock; created if it does not exist.
        patience: seconds to wait for a turn before giving up, e.g. because the holder was stopped by a debugger.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._file = self._opened()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """While inside, nobody else on this host is.

        Raises:
            LedgerUnavailable: the turn did not come in time.
        """
        if fcntl is None:
            yield
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave the queue. Who is dropped without it leaves as well."""
        self._closing()

    def _opened(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._closing = weakref.finalize(self, os.close, file)
        self._closing.atexit = False  # other threads may still write then
        return file

    def _wait(self) -> None:
        waiter = _Waiter(self._file)
        if not waiter.acquired(self._patience):
            self._closing.detach()  # the waiter closes the old one when its turn comes at last
            self._file = self._opened()
            raise LedgerUnavailable(
                f"Another process has kept {self._path} locked for {self._patience:g} seconds, so no call is admitted. "
                "Look for a worker that is stopped or hangs."
            )


class _Waiter:
    """Waits for the lock in a thread of its own, because ``flock`` waits forever and cannot be called back."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._decision = Lock()
        self._done = Event()
        self._given_up = False
        Thread(target=self._run, name="ledger-queue", daemon=True).start()

    def acquired(self, patience: float) -> bool:
        self._done.wait(patience)
        with self._decision:
            self._given_up = not self._done.is_set()
        return not self._given_up

    def _run(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._decision:
            if self._given_up:
                os.close(self._file)
            else:
                self._done.set()
