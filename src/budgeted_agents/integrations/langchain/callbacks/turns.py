"""Handlers of one call take turns as it starts.

Those whose ledger waits for a disk are run in threads, all at once, where langchain-core is asynchronous. Each would
find none of the others yet, and hold and charge for itself. And one that comes after another has refused the call
would hold for a call that is never made.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

_MOST_REFUSED = 1_024
"""Calls that are remembered to have been refused: a handler comes late by a moment."""

_guard = threading.Lock()
_refused: dict[int, None] = {}
_turns: dict[int, _Turn] = {}


class _Turn:
    __slots__ = ("handlers", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.handlers = 0


@contextmanager
def in_turn(run_id: UUID) -> Iterator[bool]:
    """One handler of a call at a time, by langchain-core's id of it. Other calls are not waited for.

    Yields whether the call is to be made: whether no other handler has refused it. An error that leaves the block
    refuses it.
    """
    with _guard:
        turn = _turns.setdefault(run_id.int, _Turn())
        turn.handlers += 1
    try:
        with turn.lock:
            yield run_id.int not in _refused
    except BaseException:
        with _guard:
            _refused[run_id.int] = None
            if len(_refused) > _MOST_REFUSED:
                del _refused[next(iter(_refused))]
        raise
    finally:
        with _guard:
            turn.handlers -= 1
            if not turn.handlers:
                del _turns[run_id.int]
