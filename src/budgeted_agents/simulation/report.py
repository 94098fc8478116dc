"""``WhatIfReport``: what other policies would have done to recorded sessions, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from budgeted_agents.budget import Policy
from budgeted_agents.money import format_usd, parse_usd, to_usd
from budgeted_agents.reports.audit.words import many
from budgeted_agents.simulation.session import Moment, SessionOutcome

Json = dict[str, Any]

SESSION_ONLY = "session_only"
"""Flag: of this session only sums are known, so it can be said that it would have been stopped, not at which call."""

OVERRUN, OVER_CONTEXT, UNPRICED = "overrun", "over_context", "unpriced_calls"
"""Flags: some call cost more than was held; some context would have been pruned; some calls were left out."""

_ENDINGS: Mapping[str, str] = {"land": "landed", "suspend": "suspended", "raise": "raised"}


@dataclass(frozen=True, slots=True)
class SessionWhatIf:
    """One session under one policy; see ``SessionOutcome`` for its figures.

    Attributes:
        outcome: the figures.
    """

    outcome: SessionOutcome

    @property
    def session_id(self) -> str:
        return self.outcome.session

    @property
    def ending(self) -> str:
        """``landed``, ``suspended``, ``raised``, or empty if its work would have gone on to its own end."""
        return _ENDINGS[self.outcome.ended.how] if self.outcome.ended else ""

    @property
    def flags(self) -> tuple[str, ...]:
        found = self.outcome
        known = {
            SESSION_ONLY: found.is_stated,
            OVERRUN: found.overruns,
            OVER_CONTEXT: found.over_context,
            UNPRICED: found.unpriced,
        }
        return tuple(flag for flag, is_set in known.items() if is_set)

    def to_json(self) -> Json:
        found = self.outcome
        return {
            "session_id": found.session,
            **_figures(found),
            "ending": self.ending or None,
            "ended_by": found.ended.budget if found.ended else None,
            "ended": _moment(found.ended.moment if found.ended else None),
            "alerted": _moment(found.alerted),
            "downgraded": _moment(found.stepped_down),
            "would_have_refused": _moment(found.watched),
            "flags": list(self.flags),
        }

    def row(self) -> Json:
        """Flat, for a data frame or CSV; money as Decimal, and of each first moment the place of the call."""
        found = self.outcome
        moments = {
            "alerted": found.alerted,
            "downgraded": found.stepped_down,
            "ended": found.ended.moment if found.ended else None,
            "would_have_refused": found.watched,
        }
        return {
            "session_id": found.session,
            **{name: Decimal(value) if name.endswith("_usd") else value for name, value in _figures(found).items()},
            "ending": self.ending,
            **{f"{name}_at_call": moment.call if moment else None for name, moment in moments.items()},
            "flags": ", ".join(self.flags),
        }


class PolicyWhatIf:
    """One policy over all sessions.

    Attributes:
        name: the policy's.
        policy: its budgets.
        sessions: those whose work would have been cut most first.
        totals: all sessions added up.
    """

    name: str
    policy: Policy
    sessions: tuple[SessionWhatIf, ...]
    totals: SessionOutcome

    def __init__(self, name: str, policy: Policy, outcomes: Iterable[SessionOutcome]) -> None:
        self.name = name
        self.policy = policy
        ranked = sorted(outcomes, key=lambda found: (found.ended is None, -found.cost_cut, -found.saved, found.session))
        self.sessions = tuple(map(SessionWhatIf, ranked))
        self.totals = _added_up(ranked)

    def count(self, happened: Callable[[SessionOutcome], object]) -> int:
        """How many sessions something holds of."""
        return sum(1 for session in self.sessions if happened(session.outcome))

    @property
    def sessions_alerted(self) -> int:
        return self.count(lambda found: found.alerted)

    @property
    def sessions_downgraded(self) -> int:
        return self.count(lambda found: found.downgraded)

    @property
    def sessions_ended(self) -> int:
        """Sessions whose work a refusal would have ended, however."""
        return self.count(lambda found: found.ended)

    @property
    def sessions_watched(self) -> int:
        """Sessions that a budget in shadow mode would have refused a call if it were enforced."""
        return self.count(lambda found: found.watched)

    @property
    def endings(self) -> dict[str, int]:
        """How many sessions would have landed, been suspended, or raised."""
        found = [session.ending for session in self.sessions]
        return {ending: found.count(ending) for ending in _ENDINGS.values()}

    @property
    def saved_usd(self) -> Decimal:
        return to_usd(self.totals.saved)

    @property
    def share_cut(self) -> float:
        """The share of the recorded cost that went to calls which would not have been made."""
        return self.totals.cost_cut / self.totals.cost if self.totals.cost else 0.0

    @property
    def share_saved(self) -> float:
        return self.totals.saved / self.totals.cost if self.totals.cost else 0.0

    def first(self, moment_of: Callable[[SessionOutcome], Moment | None]) -> tuple[str, Moment] | None:
        """The earliest of the sessions' moments of one kind, and whose it is."""
        found = [(moment, s.outcome.session) for s in self.sessions if (moment := moment_of(s.outcome)) is not None]
        moment, session = min(found, key=lambda pair: (pair[0].at, pair[0].call, pair[1]), default=(None, ""))
        return None if moment is None else (session, moment)

    def to_json(self) -> Json:
        return {
            "policy": self.name,
            "budgets": [budget.name for budget in self.policy.budgets],
            "sessions_alerted": self.sessions_alerted,
            "sessions_downgraded": self.sessions_downgraded,
            **{f"sessions_{ending}": number for ending, number in self.endings.items()},
            "sessions_would_have_refused": self.sessions_watched,
            "first_alert": _first(self.first(lambda found: found.alerted)),
            "first_downgrade": _first(self.first(lambda found: found.stepped_down)),
            "first_end": _first(self.first(lambda found: found.ended.moment if found.ended else None)),
            "totals": {
                "sessions": len(self.sessions),
                **_figures(self.totals),
                "share_saved": round(self.share_saved, 6),
                "share_cut": round(self.share_cut, 6),
            },
            "sessions": [session.to_json() for session in self.sessions],
        }


@dataclass(frozen=True)
class WhatIfReport:
    """Several policies over the same recorded calls.

    Attributes:
        policies: in the order asked for.
        unread: what of the traces could not be read, in words.
        warnings: what a reader should know before believing the figures.
    """

    policies: tuple[PolicyWhatIf, ...]
    unread: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        told = dict.fromkeys(text for policy in self.policies for text in _warnings(policy))
        return (*told, *self.unread)

    def breaches(self, *, fail_over: int | None = None, max_cost: str | Decimal | None = None) -> list[str]:
        """Why a gate should stay shut, in words; empty if it may open.

        Args:
            fail_over: most sessions whose work a policy may end (or would, in shadow mode).
            max_cost: most USD that all sessions together may cost under a policy.

        Raises:
            InvalidAmount: ``max_cost`` is no amount of USD.
        """
        most = None if max_cost is None else parse_usd(max_cost, field="max_cost", place="what-if")
        found = []
        for policy in self.policies:
            stopped = policy.count(lambda outcome: outcome.ended or outcome.watched)
            if fail_over is not None and stopped > fail_over:
                found.append(
                    f"{policy.name}: {many(stopped, 'session')} would have been refused, more than {fail_over:,}"
                )
            cost = policy.totals.cost_after
            if most is not None and cost > most:
                found.append(f"{policy.name}: {format_usd(cost)} would have been spent, more than {format_usd(most)}")
        return found

    def to_json(self) -> Json:
        """A JSON object; money as decimal strings of USD."""
        return {"policies": [policy.to_json() for policy in self.policies], "warnings": list(self.warnings)}

    def rows(self) -> list[Json]:
        """Flat rows, one for each policy and session, for a data frame or a CSV file; money as Decimal."""
        return [{"policy": policy.name, **session.row()} for policy in self.policies for session in policy.sessions]

    def __rich__(self) -> Any:
        from budgeted_agents.simulation.table import what_if_table

        return what_if_table(self)


_COUNTS = (
    "calls",
    "tokens",
    "downgraded",
    "shortened",
    "tokens_shortened",
    "calls_cut",
    "tokens_cut",
    "tool_calls",
    "tool_calls_cut",
    "overruns",
    "over_context",
    "unpriced",
)
_AMOUNTS = ("cost", "cost_after", "saved", "cost_cut", "landing_reserve")
_NAMES = {
    "downgraded": "calls_downgraded",
    "shortened": "answers_shortened",
    "over_context": "calls_over_context",
    "unpriced": "unpriced_calls",
}


def _figures(outcome: SessionOutcome) -> Json:
    counts = {_NAMES.get(name, name): getattr(outcome, name) for name in _COUNTS}
    return counts | {f"{name}_usd": f"{to_usd(getattr(outcome, name)):f}" for name in _AMOUNTS}


def _added_up(outcomes: Iterable[SessionOutcome]) -> SessionOutcome:
    total = SessionOutcome("")
    for outcome in outcomes:
        for name in (*_COUNTS, *_AMOUNTS):
            if name != "saved":
                setattr(total, name, getattr(total, name) + getattr(outcome, name))
    return total


def _moment(moment: Moment | None) -> Json | None:
    return None if moment is None else {**moment._asdict(), "call": moment.call or None, "at": moment.at or None}


def _first(found: tuple[str, Moment] | None) -> Json | None:
    return None if found is None else {"session_id": found[0], **(_moment(found[1]) or {})}


def _warnings(policy: PolicyWhatIf) -> Iterable[str]:
    totals = policy.totals
    stated = policy.count(lambda found: found.is_stated)
    if stated:
        yield (
            f"Of {many(stated, 'session')} the traces give sums only: it can be told whether they would have been "
            "stopped, not at which call; what they cost afterward is an upper bound"
        )
    if totals.unpriced:
        yield (
            f"{many(totals.unpriced, 'call')} left out, because no price or no count of tokens is known of them; "
            "--prices takes a list of your own"
        )
    timeless = policy.count(lambda found: found.is_timeless)
    if timeless and any(budget.window for budget in policy.policy.budgets):
        yield (
            f"Of {many(timeless, 'session')} the traces do not tell when they were: budgets with a window take them as "
            "of one and the same time"
        )
    for limit in ("loops", "depth"):
        if any(getattr(budget, limit) is not None for budget in policy.policy.budgets):
            yield f"{limit}: not replayed, because traces do not tell them"
    if totals.over_context:
        yield (
            f"{many(totals.over_context, 'call')} above context_tokens, charged as made, though live the context would "
            "have been pruned"
        )
