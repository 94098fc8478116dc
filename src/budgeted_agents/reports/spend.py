"""``SpendReport``: what a session has spent, call by call, and why. A fold over the ledger's entries and notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from budgeted_agents.ledgers.contract import Account, Balance, Entry, Ledger, Note, State, unit_of
from budgeted_agents.ledgers.overdue import presume_overdue
from budgeted_agents.ledgers.topping_up import TopUp, top_ups
from budgeted_agents.ledgers.units import USD
from budgeted_agents.money import to_usd
from budgeted_agents.traces import CallRecord


@dataclass(frozen=True)
class SpendReport:
    """What one session has spent.

    Attributes:
        session: the session's id.
        calls: model and tool calls in the order they were reserved; calls in flight are not among them.
        balances: every account the session has touched, in its own unit.
        refusals: what was refused, and why (message by message).
        landing: how the latest run landed; empty if it did not have to.
        in_flight: calls that hold money and have not ended.
        top_ups: what was added to its budgets, by whom and why.
    """

    session: str
    calls: tuple[CallRecord, ...]
    balances: tuple[Balance, ...]
    refusals: tuple[str, ...] = ()
    landing: str = ""
    in_flight: int = 0
    top_ups: tuple[TopUp, ...] = ()

    @property
    def cost_nanos(self) -> int:
        """Nano-USD charged for all calls."""
        return sum(call.cost for call in self.calls)

    @property
    def cost_usd(self) -> Decimal:
        """USD charged for all calls."""
        return to_usd(self.cost_nanos)

    @property
    def presumed_usd(self) -> Decimal:
        """The part of ``cost_usd`` charged for calls whose outcome nobody knows."""
        return to_usd(sum(call.cost for call in self.calls if call.outcome == "presumed"))

    @property
    def input_tokens(self) -> int:
        return sum(call.input_tokens for call in self.calls)

    @property
    def output_tokens(self) -> int:
        return sum(call.output_tokens for call in self.calls)

    @property
    def model_calls(self) -> tuple[CallRecord, ...]:
        return tuple(call for call in self.calls if call.kind == "model")

    @property
    def tool_calls(self) -> tuple[CallRecord, ...]:
        return tuple(call for call in self.calls if call.kind == "tool")

    @property
    def downgrades(self) -> tuple[CallRecord, ...]:
        """Model calls made by a cheaper tier than the one asked for."""
        return tuple(call for call in self.model_calls if call.model_used != call.model_asked)

    def to_json(self) -> dict[str, Any]:
        """A JSON object. Fields named ``*_usd`` are decimal strings of USD; all other amounts are integers in the
        account's unit (nano-USD for ``usd``; ``cost`` and ``reserved`` of calls too).
        """
        return {
            "session": self.session,
            "cost_usd": str(self.cost_usd),
            "presumed_usd": str(self.presumed_usd),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "model_calls": len(self.model_calls),
            "tool_calls": len(self.tool_calls),
            "downgrades": len(self.downgrades),
            "in_flight": self.in_flight,
            "landing": self.landing,
            "refusals": list(self.refusals),
            "top_ups": [top_up.to_json() for top_up in self.top_ups],
            "balances": [balance_json(balance) for balance in self.balances],
            "calls": [call.to_json() for call in self.calls],
        }

    def __rich__(self) -> Any:
        from budgeted_agents.reports.tables import spend_table

        return spend_table(self)

    def __str__(self) -> str:
        from budgeted_agents.reports.tables import as_text

        return as_text(self)


def spend_report(ledger: Ledger, session: str, *, now: float) -> SpendReport:
    """Fold a session's entries and notes into its report.

    Args:
        ledger: where the money is kept.
        session: the session's id.
        now: seconds since the epoch; overdue reservations are presumed first.
    """
    presume_overdue(ledger, now)
    return spend_as_it_stands(ledger, session)


def spend_as_it_stands(ledger: Ledger, session: str) -> SpendReport:
    """Fold a session's entries and notes into its report, as they are: an overdue reservation counts as a call in
    flight, unless somebody has presumed it before.

    Args:
        ledger: where the money is kept.
        session: the session's id.
    """
    entries = list(ledger.entries(session))
    notes = list(ledger.notes(session))
    added = top_ups(notes)
    keys = dict.fromkeys(key for entry in entries for key, _ in entry.held)
    keys |= dict.fromkeys(top_up.account.key for top_up in added)
    return SpendReport(
        session=session,
        calls=tuple(record for entry in entries if (record := _record(entry)) is not None),
        balances=ledger.balances([Account.from_key(key) for key in keys]),
        refusals=tuple(noted(notes, "refusal")),
        landing=_landing(entries, notes),
        in_flight=sum(entry.state is State.RESERVED for entry in entries),
        top_ups=added,
    )


def _record(entry: Entry) -> CallRecord | None:
    """The record of a call that has ended; of one that was charged without a record, what was known when it began."""
    if entry.record:
        return CallRecord.from_json(entry.record)
    if entry.state not in (State.PRESUMED, State.SETTLED):
        return None
    presumed = entry.state is State.PRESUMED
    memo: Mapping[str, Any] = entry.memo
    return CallRecord(
        id=entry.id,
        kind=memo.get("kind", "model"),
        session=entry.session,
        run=memo.get("run", ""),
        step=memo.get("step"),
        started_at=entry.reserved_at,
        ended_at=entry.closed_at or entry.deadline,
        outcome="presumed" if presumed else "settled",
        attribution=memo.get("attribution", {}),
        model_asked=memo.get("model_asked", ""),
        model_used=memo.get("model_used", ""),
        tool=memo.get("tool", ""),
        reserved=charged_usd(entry.held),
        cost=charged_usd(entry.charged),
        granted=entry.granted,
        reason="never settled: charged at its worst case" if presumed else "settled without a record",
    )


def charged_usd(amounts: Iterable[tuple[str, int]]) -> int:
    """Nano-USD of one call by its accounts' keys: every account in USD is charged the same."""
    return max((amount for key, amount in amounts if unit_of(key) == USD), default=0)


def _landing(entries: Sequence[Entry], notes: Sequence[Note]) -> str:
    """How the latest run landed; empty if a later one made calls since."""
    landings = [note for note in notes if note.body.get("kind") == "landing"]
    if not landings:
        return ""
    latest = landings[-1]
    later = [e for e in entries if e.reserved_at > latest.at and e.memo.get("run") != latest.body.get("run")]
    return "" if later else str(latest.body.get("message", ""))


def noted(notes: Iterable[Note], kind: str) -> list[str]:
    """What was noted of a kind (refusals, landings)."""
    return [str(note.body.get("message", "")) for note in notes if note.body.get("kind") == kind]


def balance_json(balance: Balance) -> dict[str, Any]:
    account = balance.account
    return {
        "budget": account.budget,
        "scope": dict(account.scope),
        "window": account.window,
        "unit": account.unit,
        "limit": balance.limit,
        "spent": balance.spent,
        "held": balance.held,
        "available": balance.available,
        "presumed": balance.presumed,
        "credit": balance.credit,
    }
