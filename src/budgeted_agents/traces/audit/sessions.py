"""What a session comes to: its calls and what its trace says in sum, brought together. Pure.

A session may be known by its calls, by statements about it, or by both. Calls are the better figures; where both are
there, the gap between them says what the trace does not show, such as calls made on the side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from budgeted_agents.prices.rows import ATTO_PER_NANO
from budgeted_agents.traces.audit.tallies import Judged, SessionTally
from budgeted_agents.traces.audit.verdicts import EXACT, MISMATCH, ROUNDING, UNPRICED, Verdict, worst

SESSION_ONLY = "session_only"
"""Flag: no call is known, only what the trace says of the session."""

CALLS_MISSING = "calls_missing"
"""Flag: the trace says the session cost more than its calls do."""

CALLS_EXTRA = "calls_extra"
"""Flag: the trace says the session cost less than its calls do."""

_ROUNDED = 1_000
"""A sum counts as the same if it differs by less than one part in this many."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A session's figures and the verdict on them.

    Attributes:
        figures: tokens and cost: of its calls if there are any, else as stated.
        recorded: atto-USD that the trace records, call by call or in sum; None if it records none.
        verdict: on the recorded cost.
        verdicts: of its calls, or of the statements if there are no calls.
        gap: nano-USD by which what is stated exceeds the calls; None unless both are known.
        flags: what is known about the quality of its figures.
    """

    figures: Judged
    recorded: int | None
    verdict: Verdict
    verdicts: Mapping[Verdict, int]
    gap: int | None
    flags: frozenset[str]


def conclude(session: SessionTally) -> Conclusion:
    """Bring a session's calls and statements together."""
    stated = Judged()
    for _, part in session.statements():
        stated.merge_judged(part)
    if session.calls == 0:
        flags = stated.flags | {SESSION_ONLY} if stated.calls else session.flags
        verdicts = stated.final_verdicts()
        return Conclusion(stated, _recorded(stated), worst(verdicts), verdicts, None, frozenset(flags))
    verdicts, recorded, gap = session.final_verdicts(), _recorded(session), _gap(session, stated)
    verdict = worst(verdicts)
    if recorded is None and stated.recorded_calls:
        recorded, verdict = stated.recorded, _verdict_on_sum(session, stated, gap)
    flags = session.flags | (set() if gap is None else _gap_flags(gap, session))
    return Conclusion(session, recorded, verdict, verdicts, gap, frozenset(flags))


def _recorded(tally: Judged) -> int | None:
    return tally.recorded if tally.recorded_calls else None


def _gap(session: SessionTally, stated: Judged) -> int | None:
    """Stated less summed up, of like figures: recorded ones, else what the tokens cost."""
    if stated.recorded_calls and session.recorded_calls == session.calls:
        return (stated.recorded - session.recorded) // ATTO_PER_NANO
    if session.unpriced:
        return None
    if stated.calls and not stated.unpriced:
        return stated.cost - session.cost
    return stated.recorded // ATTO_PER_NANO - session.cost if stated.recorded_calls else None


def _gap_flags(gap: int, session: SessionTally) -> set[str]:
    if _is_rounding(gap, session):
        return set()
    return {CALLS_MISSING if gap > 0 else CALLS_EXTRA}


def _verdict_on_sum(session: SessionTally, stated: Judged, gap: int | None) -> Verdict:
    """On a cost recorded for the session only: by the tokens stated with it, else by those of the calls."""
    if stated.unpriced == 0:
        return worst(stated.final_verdicts())
    if gap is None:
        return UNPRICED
    return EXACT if abs(gap) <= session.calls else ROUNDING if _is_rounding(gap, session) else MISMATCH


def _is_rounding(gap: int, session: SessionTally) -> bool:
    """Whether a gap is no more than roundings of each call, and of the sum, make up."""
    return abs(gap) <= max(10 * session.calls, session.cost // _ROUNDED)
