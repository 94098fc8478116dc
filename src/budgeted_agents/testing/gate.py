"""A gate at which requests wait, so that tests can hold them without sleeping."""

from __future__ import annotations

import threading


class Gate:
    """Open at first. While it is closed, requests that have arrived (and been billed) wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open = True
        self._waiting = 0

    def close(self) -> None:
        """From now on requests wait."""
        with self._changed:
            self._is_open = False

    def open(self) -> None:
        """Lets all waiting requests go on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        with self._changed:
            return self._waiting

    def wait_for(self, requests: int, timeout: float = 10.0) -> None:
        """Returns as soon as at least so many requests wait at the gate.

        Raises:
            TimeoutError: if they do not arrive within ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting >= requests, timeout):
                raise TimeoutError(f"{self._waiting} of {requests} requests arrived at the gate in {timeout} s")

    def pass_through(self) -> None:
        """Returns at once if the gate is open, otherwise as soon as it opens."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_open)
            self._waiting -= 1
