"""``AccountReport``: the balance of every account a ledger knows, or of some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgeted_agents.ledgers.contract import Account, Balance, Ledger
from budgeted_agents.ledgers.overdue import presume_overdue
from budgeted_agents.ledgers.topping_up import TopUp, top_ups
from budgeted_agents.reports.spend import balance_json


@dataclass(frozen=True)
class AccountReport:
    """Balances, those nearest to their limit first, and what was added to them."""

    balances: tuple[Balance, ...]
    top_ups: tuple[TopUp, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object; amounts as integers in each account's unit (nano-USD for ``usd``)."""
        return {
            "balances": [balance_json(balance) for balance in self.balances],
            "top_ups": [top_up.to_json() for top_up in self.top_ups],
        }

    def __rich__(self) -> Any:
        from budgeted_agents.reports.tables import accounts_table

        return accounts_table(self)


def account_report(
    ledger: Ledger, *, now: float, budget: str | None = None, scope: Mapping[str, str] | None = None
) -> AccountReport:
    """Balances at ``now`` (seconds since the epoch); overdue reservations are presumed first.

    Args:
        budget: only accounts of the budget of this name.
        scope: only accounts with these values, e.g. ``{"tenant": "acme"}``.
    """
    presume_overdue(ledger, now)
    accounts = [account for account in ledger.accounts() if _is_meant(account, budget, scope or {})]
    added = [top_up for top_up in top_ups(ledger.notes()) if top_up.account in set(accounts)]
    ordered = sorted(ledger.balances(accounts), key=lambda b: (-(b.spent / b.limit if b.limit else 0), b.account.key))
    return AccountReport(tuple(ordered), tuple(added))


def _is_meant(account: Account, budget: str | None, scope: Mapping[str, str]) -> bool:
    return budget in (None, account.budget) and scope.items() <= dict(account.scope).items()
