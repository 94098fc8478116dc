"""Refusals that a handler repeats without asking again: a chain that retries would wait for money each time anew."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from msgspec import Struct

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.callbacks.observed import Observed
from budgeted_agents.ledgers import Account, Balance
from budgeted_agents.ledgers.units import REQUESTS
from budgeted_agents.meter import Meter, Steps

_MOST = 1_024
"""Refusals remembered until some call ends."""

_REPEATED_FOR = 1.0
"""Seconds for which a refusal is repeated, as long as its account has no more left than it had."""


class _Known(Struct, frozen=True):
    refusal: BudgetExceeded
    at: float
    left: int


class Refusals(dict[object, _Known]):
    """Those of one handler, by what a retry has in common with the call that was refused."""

    def add(self, meter: Meter, parent_run_id: UUID | None, observed: Observed, refusal: BudgetExceeded) -> Steps[None]:
        """Remember a refusal, if it is known where its call was made. Another minute may begin for requests at any
        time."""
        if parent_run_id is not None and len(self) < _MOST and refusal.unit != REQUESTS:
            left = yield from _left(meter, refusal)
            self[_request(parent_run_id, observed)] = _Known(refusal, meter.clock(), left)

    def still(self, meter: Meter, parent_run_id: UUID | None, observed: Observed) -> Steps[BudgetExceeded | None]:
        """The refusal of such a call, if it would be refused again, as far as can be told without asking: a top-up,
        another window, or money that came back, perhaps in another process, may have made room."""
        known = self.get(_request(parent_run_id, observed))
        if known is None or meter.clock() >= known.at + _REPEATED_FOR:
            return None
        left = yield from _left(meter, known.refusal)
        return None if left > known.left else known.refusal


def _request(parent_run_id: UUID | None, observed: Observed) -> tuple[object, ...]:
    quote, who = observed.quote, observed.call.attribution.items()
    return (parent_run_id, quote.model, quote.base, quote.output_limit, observed.call.landing, frozenset(who))


def _left(meter: Meter, refusal: BudgetExceeded) -> Steps[int]:
    """What the account that refused has left, in its unit; 0 for a cap that is no account's."""
    if not refusal.account:
        return 0
    balance: Balance
    (balance,) = yield partial(meter.ledger.balances, [Account.from_key(refusal.account)])
    return balance.limit - balance.spent - balance.held
