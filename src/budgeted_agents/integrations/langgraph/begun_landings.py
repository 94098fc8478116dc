"""Landings that have begun and wait for something beside them, such as the answer of a person.

They come to their end in a later invocation, which knows nothing of the refusal, nor of the models there were.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.outputs import LLMResult

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.governance import Governance

_MOST_SESSIONS = 4_096
"""Sessions that are remembered at a time."""


class _Begun(NamedTuple):
    refusal: BudgetExceeded
    tiers: Sequence[Any] | None
    steps: list[Mapping[int, LLMResult]]


class BegunLandings:
    """Those of one graph, by session, in this process."""

    def __init__(self) -> None:
        self._begun: OrderedDict[str, _Begun] = OrderedDict()

    def begin(self, governance: Governance, refusal: BudgetExceeded) -> None:
        """A run is on its way to its landing."""
        self._begun[governance.run.session] = _Begun(refusal, governance.latest_tiers, governance.steps)
        if len(self._begun) > _MOST_SESSIONS:
            self._begun.popitem(last=False)

    def come_to(self, governance: Governance) -> None:
        """A run lands: it is told what an earlier invocation knew, if it is another one."""
        begun = self._begun.pop(governance.run.session, None)
        if begun is None or not governance.run.exhaust(begun.refusal):
            return
        governance.steps += begun.steps
        if begun.tiers and governance.latest_tiers is None:
            governance.latest_tiers = begun.tiers
