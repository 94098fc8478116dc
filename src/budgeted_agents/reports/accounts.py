"""``AccountReport``: the balance of every account a ledger knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from budgeted_agents.ledgers.contract import Balance, Ledger
from budgeted_agents.reports.spend import balance_json


@dataclass(frozen=True)
class AccountReport:
    """Balances, those nearest to their limit first."""

    balances: tuple[Balance, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; amounts as integers in each account's unit (nano-USD for ``usd``)."""
        return {"balances": [balance_json(balance) for balance in self.balances]}

    def __rich__(self) -> Any:
        from budgeted_agents.reports.tables import balances_table

        return balances_table(self.balances)


def account_report(ledger: Ledger, *, now: float) -> AccountReport:
    """Every account's balance at ``now`` (seconds since the epoch); overdue reservations are presumed first."""
    ledger.expire(now)
    balances = ledger.balances(ledger.accounts())
    return AccountReport(tuple(sorted(balances, key=lambda b: (-(b.spent / b.limit if b.limit else 0), b.account.key))))
