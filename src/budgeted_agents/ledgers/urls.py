"""A ledger's URL taken apart: where the money is, and what the URL says besides."""

from __future__ import annotations

from os.path import realpath
from typing import NamedTuple
from urllib.parse import quote, unquote

from budgeted_agents.errors import InvalidLedger

_FILE = "sqlite:///"
_JOURNAL = "journal"
_REMEDY = "Write ?journal=/var/log/spend (special characters as in any URL, e.g. %26 for &) or ?journal=off, once"


class LedgerUrl(NamedTuple):
    """A ledger's URL.

    Attributes:
        place: the URL without options; two URLs of one place name the same money.
        journal: the folder of its journal, or ``off``; empty if the URL does not say.
    """

    place: str
    journal: str = ""

    def __str__(self) -> str:
        return f"{self.place}?{_JOURNAL}={quote(self.journal)}" if self.journal else self.place


def parsed(url: str) -> LedgerUrl:
    """A URL taken apart; its place is not looked at.

    Raises:
        InvalidLedger: it has an option that no ledger has, one twice, or one without a value.
    """
    place, question_mark, query = url.partition("?")
    if not question_mark:
        return LedgerUrl(url)
    options: dict[str, str] = {}
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if name != _JOURNAL:
            raise _refused(url, f"has an option that no ledger has, {name!r}")
        if name in options:
            raise _refused(url, f"says {name} twice")
        options[name] = unquote(value)
        if not options[name] or "\0" in options[name]:
            raise _refused(url, f"names no {name}")
    return LedgerUrl(place, options[_JOURNAL])


def is_off(journal: object) -> bool:
    """Whether this says that there is to be no journal."""
    return isinstance(journal, str) and journal.lower() == "off"


def place_of(url: str) -> str:
    """Where the money of a ledger's URL is."""
    return url.partition("?")[0]


def is_same_place(one: str, other: str) -> bool:
    """Whether two ledgers' URLs name the same money: a file has many paths, and an unnamed ledger in memory none."""
    first, second = place_of(one), place_of(other)
    if first == second:
        return first != "memory://"
    file = file_of(first)
    return file is not None and file == file_of(second)


def file_of(url: str) -> str | None:
    """The file of a ledger's URL, by its one path that goes through no link; None if the ledger has no file."""
    path = place_of(url).removeprefix(_FILE)
    return realpath(path) if path and url.startswith(_FILE) else None


def _refused(url: str, problem: str) -> InvalidLedger:
    return InvalidLedger(problem, field="ledger", value=url, place="open_ledger", remedy=_REMEDY)
