"""Ledgers by URL."""

from __future__ import annotations

import difflib
from pathlib import Path
from threading import Lock

from budgeted_agents.errors import InvalidLedger
from budgeted_agents.ledgers.contract import Ledger
from budgeted_agents.ledgers.memory import MemoryLedger
from budgeted_agents.ledgers.urls import LedgerUrl, is_off, parsed

LedgerLike = Ledger | str | None
"""What ``ledger=`` takes: an open ledger, a URL, or None for one in memory."""

_SCHEMES = {
    "memory": 'Use "memory://" for a ledger in this process',
    "sqlite": 'Use "sqlite:///spend.db" (relative to the working directory) or "sqlite:////absolute/spend.db"',
}
_LATER = ("redis", "rediss", "redis+sentinel", "redis+cluster")

_shared: dict[str, MemoryLedger] = {}
_shared_lock = Lock()


def open_ledger(url: str) -> Ledger:
    """The ledger a URL names.

    ``memory://`` is a new ledger in this process; ``memory://name`` the one of that name, shared by the whole process
    until it is closed. ``sqlite:///relative.db`` and ``sqlite:////absolute/path.db`` are files, shared by the
    processes of one host. ``?journal=folder`` or ``?journal=off`` at the end says where calls are written down.

    Raises:
        InvalidLedger: no ledger can be at this URL; the message says what to write instead.
        LedgerError: the file was written by a newer version of this library.
        LedgerUnavailable: the storage fails.
    """
    if not isinstance(url, str):
        raise _refused(url, "is not a string", _SCHEMES["sqlite"])
    scheme, separator, _ = url.partition("://")
    if scheme == "memory" and separator:
        return _memory(parsed(url))
    if scheme == "sqlite" and separator:
        return _sqlite(parsed(url))
    if scheme in _LATER:
        raise _refused(url, "names a Redis ledger, which this version does not have", _SCHEMES["sqlite"])
    raise _refused(url, "is not a ledger's URL", _remedy(scheme))


def as_ledger(ledger: LedgerLike, place: str) -> Ledger:
    """The ledger that was given, or that a URL names.

    Args:
        ledger: as a user gave it.
        place: where, for messages.

    Raises:
        InvalidLedger: it is neither.
        LedgerError, LedgerUnavailable: as ``open_ledger``.
    """
    if ledger is None or isinstance(ledger, str):
        return open_ledger("memory://" if ledger is None else ledger)
    if callable(getattr(ledger, "reserve", None)):
        return ledger
    remedy = 'Give a URL such as "sqlite:///spend.db", or what open_ledger(...) gave you'
    raise InvalidLedger("is neither a ledger nor a URL", field="ledger", value=ledger, place=place, remedy=remedy)


def _memory(url: LedgerUrl) -> Ledger:
    name, journal = url.place.removeprefix("memory://"), _from_anywhere(url.journal)
    if not name:
        return MemoryLedger(journal=journal)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise _refused(
            str(url), "has a name of other characters than letters, digits, - and _", 'Use e.g. "memory://tests"'
        )
    with _shared_lock:
        shared = _shared.get(name)
        if shared is None or shared.closed:
            shared = _shared[name] = MemoryLedger(name, journal)
        if journal and shared.url != str(LedgerUrl(url.place, journal)):
            raise _refused(str(url), f"is open already, as {shared.url}", "Open it by one URL, or give it another name")
        return shared


def open_existing(url: str) -> Ledger:
    """The ledger a URL names, which must be there: a command that reads or tops up should not make an empty one.

    Raises:
        InvalidLedger: there is none, or it could only be in another process's memory.
        LedgerError, LedgerUnavailable: as ``open_ledger``.
    """
    if url.startswith("memory://"):
        raise _refused(url, "is in the memory of another process", _SCHEMES["sqlite"])
    if url.startswith("sqlite:///") and not Path(parsed(url).place[len("sqlite:///") :]).exists():
        raise _refused(url, "is not there", "Name the ledger's file; a graph makes it at its first run")
    return open_ledger(url)


def _sqlite(given: LedgerUrl) -> Ledger:
    url, rest = str(given), given.place.removeprefix("sqlite://")
    if ":memory:" in rest or rest == "":
        raise _refused(url, "names no file", 'Use "memory://" for a ledger without a file')
    if not rest.startswith("/"):
        raise _refused(url, "lacks a slash", f'Write "sqlite:///{rest}" for a file in the working directory')
    path = rest[1:]
    if not path or path.endswith("/"):
        raise _refused(url, "names no file", _SCHEMES["sqlite"])
    if "#" in path or "\0" in path:
        raise _refused(url, "has characters a ledger's path cannot have (# or NUL)", "Give the path of a file")
    from budgeted_agents.ledgers.sqlite import SqliteLedger  # loaded only where it is used

    return SqliteLedger(path, _from_anywhere(given.journal))


def _from_anywhere(journal: str) -> str:
    """A journal's folder, if one is named, as a path that does not go by the working directory."""
    return str(Path(journal).absolute()) if journal and not is_off(journal) else journal


def _remedy(scheme: str) -> str:
    nearest = difflib.get_close_matches(scheme.lower(), _SCHEMES, n=1)
    return _SCHEMES[nearest[0]] if nearest else f"{_SCHEMES['sqlite']}; {_SCHEMES['memory'].lower()}"


def _refused(url: object, problem: str, remedy: str) -> InvalidLedger:
    return InvalidLedger(problem, field="ledger", value=url, place="open_ledger", remedy=remedy)
