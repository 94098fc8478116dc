"""What a refusal says: what happened, which budget, the numbers, and what to do next."""

from __future__ import annotations

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.ledgers.contract import Refusal
from budgeted_agents.meter.events import amount_text

_REMEDY = "Raise the budget or top it up, or ask for less (a shorter history, a lower output limit, a cheaper model)."

_NEXT_MINUTE = "Try again in the next minute, raise requests_per_minute, or let calls wait for it (max_wait=60)."


def from_ledger(refusal: Refusal, what: str) -> BudgetExceeded:
    """The error for a call that no account's money could cover."""
    balance, account = refusal.binding, refusal.binding.account
    unit = account.unit
    left = amount_text(unit, max(refusal.available, 0))
    held = f", {amount_text(unit, balance.held)} held by calls in flight" if balance.held else ""
    remedy = _NEXT_MINUTE if unit == "requests" else _REMEDY
    message = (
        f"Budget {account.budget!r} cannot cover {what}: it needs at least {amount_text(unit, refusal.needed)}, and "
        f"{left} of {amount_text(unit, balance.limit)} is left for it{held} (account {account.key}). {remedy}"
    )
    return BudgetExceeded(
        message,
        budget=account.budget,
        account=account.key,
        unit=unit,
        needed=refusal.needed,
        available=refusal.available,
        limit=balance.limit,
    )


def over_cap(budget: str, unit: str, *, needed: int, limit: int, what: str, remedy: str) -> BudgetExceeded:
    """The error for a cap that no ledger keeps: loops, depth, context size."""
    message = f"Budget {budget!r} stops {what}: {unit} would be {needed:,}, the cap is {limit:,}. {remedy}"
    return BudgetExceeded(message, budget=budget, unit=unit, needed=needed, available=limit, limit=limit)
