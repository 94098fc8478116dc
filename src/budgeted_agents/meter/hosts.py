"""Applications inside one another: a run inside a run is conducted by the outer one's meter, on its ledger.

So the inner application's own meter keeps no money of such a run, and has to know where it is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from budgeted_agents.budget.budget import Budget

if TYPE_CHECKING:
    from budgeted_agents.meter.meter import Meter

_MOST_SESSIONS = 4_096
"""Sessions that are remembered at a time."""


class Host(NamedTuple):
    """Where an application runs inside another one.

    Attributes:
        meter: conducts the calls of both.
        budgets: the application's budgets, by their own names, as they are called there.
        attribution: who the run is for.
    """

    meter: Meter
    budgets: Mapping[str, Budget]
    attribution: Mapping[str, str]


class Hosts:
    """Where the sessions of an application were run inside another one, if they were; the latest run counts."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def add(self, session: str, host: Host) -> None:
        """A run of this session begins inside another one."""
        self._hosts[session] = host
        self._hosts.move_to_end(session)
        if len(self._hosts) > _MOST_SESSIONS:
            self._hosts.popitem(last=False)

    def forget(self, session: str) -> None:
        """A run of this session begins by itself."""
        if self._hosts:
            self._hosts.pop(session, None)

    def of(self, session: str) -> Host | None:
        """Where the latest run of the session was made; None if it was made by itself."""
        return self._hosts.get(session)
