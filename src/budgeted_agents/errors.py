"""Every error the library raises, under one root.

A message says what happened, which budget or field, the numbers, and what to do next. The same facts are attributes,
so that callers need not parse text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class BudgetedAgentsError(Exception):
    """Root of every error raised by this library. All can be copied and pickled, as process pools do with them."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call __init__ with the message alone.
        return _made_again, (type(self), self.args), self.__dict__


class InvalidInput(BudgetedAgentsError, ValueError):
    """Something handed to the library is wrong; nothing has been changed.

    Attributes:
        field: the name of what is wrong, e.g. ``"usd"``.
        value: the offending value as given.
        place: where it stands, e.g. ``"Budget 'session'"`` or ``"policy.toml: budgets[2]"``.
        remedy: what to do about it.
    """

    def __init__(self, problem: str, *, field: str, value: object, place: str, remedy: str) -> None:
        self.problem = problem
        self.field = field
        self.value = value
        self.place = place
        self.remedy = remedy
        super().__init__(f"{place}: {field}={_shown(value)}: {problem}. {remedy}")


class InvalidAmount(InvalidInput):
    """An amount of money that is negative, not a number, absurdly large, or of the wrong type."""


class InvalidBudget(InvalidInput):
    """A budget whose fields are wrong or contradict one another."""


class InvalidPolicy(InvalidInput):
    """A policy file that cannot be read or understood."""


class InvalidAttribution(InvalidInput):
    """An attribution (session, tenant, ...) of the wrong shape."""


class InvalidUsage(InvalidInput):
    """Token usage that is negative, absurd, or not made of integers."""


class InvalidPrice(InvalidInput):
    """A price that is negative, not a number, or lacks what is needed to charge a call."""


class InvalidLedger(InvalidInput):
    """A ledger URL or ledger setting that cannot work."""


class InvalidReservation(InvalidInput):
    """An id, account, time or memo that a ledger cannot keep."""


class InvalidGraph(InvalidInput):
    """A graph, model or finalizer that a budget cannot govern as asked."""


class InvalidTrace(InvalidInput):
    """A trace file that cannot be read."""


class InvalidJournal(InvalidInput):
    """A journal setting that cannot work, or a journal that is not there."""


class InvalidRecorder(InvalidInput):
    """A recorder's setting that cannot work."""


class InvalidSetting(InvalidInput):
    """Listeners or a billing table that are nothing of the kind."""


class UnknownPrice(BudgetedAgentsError, LookupError):
    """No price is known for a model, so no call to it can be admitted (an unknown price is not $0).

    Attributes:
        model: the name asked for.
        nearest: the nearest names that do have a price.
    """

    def __init__(self, model: str, nearest: Sequence[str] = (), *, hint: str = "") -> None:
        self.model = model
        self.nearest = tuple(nearest)
        parts = [
            f"No price is known for model {model!r}, so its calls cannot be budgeted.",
            hint,
            f"Nearest known names: {', '.join(self.nearest)}." if self.nearest else "",
            f"Use a known name, or add a price: PriceBook.default().register({{{model!r}: "
            '{"input_cost_per_token": "...", "output_cost_per_token": "..."}}).',
        ]
        super().__init__(" ".join(part for part in parts if part))


class BudgetExceeded(BudgetedAgentsError):
    """A call was refused because a budget has no room for it. Nothing was sent and nothing was charged; except where
    what the budget had left bought so short an answer that it was cut off before it was of any use.

    Attributes:
        budget: name of the budget that binds.
        account: key of the account that binds.
        unit: what ran out: ``usd`` (nano-USD), ``tokens``, ``model_calls``, ``tool_calls``, ``loops``, ``depth``,
            ``context_tokens`` or ``requests``.
        needed: the least the call needs, in the unit.
        available: what the account can still give, in the unit.
        limit: the account's limit, in the unit.
    """

    def __init__(
        self,
        message: str,
        *,
        budget: str = "",
        account: str = "",
        unit: str = "",
        needed: int = 0,
        available: int = 0,
        limit: int = 0,
    ) -> None:
        self.message = message
        self.budget = budget
        self.account = account
        self.unit = unit
        self.needed = needed
        self.available = available
        self.limit = limit
        # Not super(): some refusals are errors of a framework too, which are made from other arguments.
        Exception.__init__(self, message)

    @property
    def particulars(self) -> dict[str, Any]:
        """All but the message, to raise the same refusal with in another way."""
        return {
            "budget": self.budget,
            "account": self.account,
            "unit": self.unit,
            "needed": self.needed,
            "available": self.available,
            "limit": self.limit,
        }


class LedgerError(BudgetedAgentsError):
    """The ledger could not do what was asked."""


class LedgerUnavailable(LedgerError):
    """The ledger's storage cannot be reached or written just now; no call is admitted without it."""


class JournalUnavailable(BudgetedAgentsError):
    """The journal cannot be written just now. No call waits for it: the ledger books what the journal misses."""


class IdempotencyConflict(LedgerError):
    """An id was used again with another body; the first one stands."""


class UnknownReservation(LedgerError, LookupError):
    """No reservation has this id."""


class ReservationClosed(LedgerError):
    """The reservation was already settled or released, so the verb cannot apply to it."""


def _made_again(cls: type[BudgetedAgentsError], args: tuple[Any, ...]) -> BudgetedAgentsError:
    return cls.__new__(cls, *args)


def _shown(value: object, limit: int = 80) -> str:
    """A short repr, so that a hostile value cannot flood a log."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
