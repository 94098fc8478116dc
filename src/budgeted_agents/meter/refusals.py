"""What a refusal says: what happened, which budget, the numbers, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.ledgers.contract import Balance, Refusal
from budgeted_agents.ledgers.units import REQUESTS, amount_text

_REMEDY = "Raise the budget or top it up, or ask for less (a shorter history, a lower output limit, a cheaper model)."

_REMEDY_FOR_CUT_OFF = "Raise the budget or top it up, or let the model think less (a lower reasoning effort)."

_NEXT_MINUTE = "Try again in the next minute, raise requests_per_minute, or let calls wait for it (max_wait=60)."


def from_ledger(refusal: Refusal, what: str) -> BudgetExceeded:
    """The error for a call that no account's money could cover."""
    balance, account = refusal.binding, refusal.binding.account
    unit = account.unit
    left = amount_text(unit, max(refusal.available, 0))
    held = f", {amount_text(unit, balance.held)} held by calls in flight" if balance.held else ""
    remedy = _NEXT_MINUTE if unit == REQUESTS else _REMEDY
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


def for_cut_off(model: str, tokens: int, balances: Sequence[Balance]) -> BudgetExceeded:
    """The error for an answer that was shortened to what the money bought, and cut off before it was of any use.

    Args:
        model: the model that answered.
        tokens: the output tokens it was granted.
        balances: the accounts that granted them; the one with the smallest share left counts as the one that binds.
    """
    balance = min(balances, key=lambda each: each.available / max(each.limit, 1))
    account, left = balance.account, max(balance.available, 0)
    message = (
        f"Budget {account.budget!r} paid for {tokens:,} output tokens of {model}, which cut its answer off before it "
        f"said anything: {amount_text(account.unit, left)} of {amount_text(account.unit, balance.limit)} is left "
        f"(account {account.key}). {_REMEDY_FOR_CUT_OFF}"
    )
    return BudgetExceeded(
        message,
        budget=account.budget,
        account=account.key,
        unit=account.unit,
        needed=left + 1,
        available=left,
        limit=balance.limit,
    )


def over_cap(budget: str, unit: str, *, needed: int, limit: int, what: str, remedy: str) -> BudgetExceeded:
    """The error for a cap that no ledger keeps: loops, depth, context size."""
    message = f"Budget {budget!r} stops {what}: {unit} would be {needed:,}, the cap is {limit:,}. {remedy}"
    return BudgetExceeded(message, budget=budget, unit=unit, needed=needed, available=limit, limit=limit)
