"""From the sums of an audit to its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from budgeted_agents.money import to_usd
from budgeted_agents.reports.audit.report import AuditReport, Figures, FileAudit, SessionAudit, Signals
from budgeted_agents.reports.audit.words import many, some, usd
from budgeted_agents.traces.audit.audit import Audit
from budgeted_agents.traces.audit.folding import FileResult
from budgeted_agents.traces.audit.sessions import CALLS_MISSING, Conclusion, conclude
from budgeted_agents.traces.audit.tallies import Loops, SessionTally, Tally
from budgeted_agents.traces.audit.verdicts import VERDICTS, Verdict

_NOTHING = Decimal(0)
_NANO = Decimal("1e-9")


def file_audit(result: FileResult) -> FileAudit:
    """What became of a file."""
    problems = result.problems
    return FileAudit(result.path, result.format or "", result.calls, problems.skipped, tuple(problems.kept))


def audit_report(audit: Audit, files: Sequence[FileAudit] = (), warnings: Iterable[str] = ()) -> AuditReport:
    """The report of an audit.

    Args:
        audit: what was added up.
        files: what was read.
        warnings: what else a reader should know.
    """
    concluded = [(name, session, conclude(session)) for name, session in audit.sessions.items()]
    groups = {dimension: _group(tallies) for dimension, tallies in audit.final_groups().items()}
    totals, premium = Tally(), audit.premium_cost
    verdicts: Counter[Verdict] = Counter()
    for _, session, found in concluded:
        totals.merge(found.figures)
        verdicts.update(found.verdicts)
        if found.figures is not session:
            premium += session.stated_premium
    recorded = [found.recorded for _, _, found in concluded if found.recorded is not None]
    sessions = sorted((_session(*parts) for parts in concluded), key=_dearest_first)
    return AuditReport(
        sessions=tuple(sessions),
        totals=_figures(totals, sum(recorded) if recorded else None),
        verdicts={verdict: verdicts[verdict] for verdict in VERDICTS if verdicts[verdict]},
        groups=groups,
        signals=_signals(sessions, totals, premium),
        files=tuple(files),
        price_sources=tuple(sorted(audit.price_sources)),
        warnings=(*_warnings(sessions, groups["model"], files), *warnings),
    )


def _session(name: str, session: SessionTally, found: Conclusion) -> SessionAudit:
    loops = session.loops or Loops()
    mean = session.cost // session.calls if session.calls else 0
    models = session.models or {place.model for place, _ in session.statements()}
    return SessionAudit(
        session_id=name,
        figures=_figures(found.figures, found.recorded),
        models=tuple(sorted(model for model in models if model)),
        verdict=found.verdict,
        verdicts={verdict: found.verdicts[verdict] for verdict in VERDICTS if verdict in found.verdicts},
        flags=tuple(sorted(found.flags)),
        tool_calls=session.tool_calls,
        repeated_tool_calls=loops.repeats,
        loop_cost_usd=to_usd(loops.cost + loops.costless * mean),
        unrecorded_cache_tokens=session.unrecorded_cache,
        downgrades=session.downgrades,
        stated_gap_usd=None if found.gap is None else to_usd(found.gap),
        started_at=session.started or None,
        ended_at=session.ended or None,
        turns=session.turns or None,
        succeeded=session.succeeded,
    )


def _figures(tally: Tally, recorded: int | None) -> Figures:
    """A tally in USD, with what is recorded of it in atto-USD."""
    return Figures(
        calls=tally.calls,
        input_tokens=tally.input,
        cached_input_tokens=tally.cached,
        output_tokens=tally.output,
        cost_usd=to_usd(tally.cost) if tally.is_priced else None,
        recorded_cost_usd=None if recorded is None else Decimal(recorded).scaleb(-18).normalize(),
        unpriced_calls=tally.unpriced,
        failed_calls=tally.failed,
        failed_cost_usd=to_usd(tally.failed_cost),
    )


def _group(tallies: Mapping[str, Tally]) -> dict[str, Figures]:
    figures = {
        name: _figures(tally, tally.recorded if tally.recorded_calls else None) for name, tally in tallies.items()
    }
    return dict(sorted(figures.items(), key=lambda named: (*_rank(named[1]), named[0])))


def _dearest_first(session: SessionAudit) -> tuple[Decimal, int, str]:
    return (*_rank(session.figures), session.session_id)


def _rank(figures: Figures) -> tuple[Decimal, int]:
    cost = figures.recorded_cost_usd if figures.cost_usd is None else figures.cost_usd
    return -(cost or _NOTHING), -figures.tokens


def _signals(sessions: Iterable[SessionAudit], totals: Tally, premium: int) -> Signals:
    sessions = list(sessions)
    known = [session for session in sessions if session.succeeded is not None]
    successes = sum(session.succeeded is True for session in known)
    guided = [session for session in sessions if session.turns]
    return Signals(
        cost_per_success_usd=(_cost(known) / successes).quantize(_NANO) if successes else None,
        tokens_per_turn=_share(sum(s.figures.tokens for s in guided), sum(s.turns or 0 for s in guided)),
        tool_calls_per_session=_share(sum(s.tool_calls for s in sessions), len(sessions)),
        downgrade_share=_share(sum(s.downgrades for s in sessions), totals.calls),
        cache_hit_rate=_share(totals.cached, totals.input),
        premium_share=_share(premium, totals.cost),
        repeated_tool_calls=sum(session.repeated_tool_calls for session in sessions),
        loop_cost_usd=sum((session.loop_cost_usd for session in sessions), _NOTHING),
        failed_cost_usd=to_usd(totals.failed_cost),
        unsuccessful_cost_usd=_cost(session for session in known if not session.succeeded) if known else None,
    )


def _cost(sessions: Iterable[SessionAudit]) -> Decimal:
    return sum((session.figures.cost_usd or _NOTHING for session in sessions), _NOTHING)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _warnings(
    sessions: Sequence[SessionAudit], models: Mapping[str, Figures], files: Sequence[FileAudit]
) -> Iterator[str]:
    unpriced = {
        name or "(no model named)": found.unpriced_calls for name, found in models.items() if found.unpriced_calls
    }
    if unpriced:
        names = some([f"{name} ({number:,})" for name, number in unpriced.items()])
        calls = many(sum(unpriced.values()), "call")
        yield f"No cost is known for {calls}: the total is too low by what they cost. {names}."
    missing = [session for session in sessions if CALLS_MISSING in session.flags]
    if missing:
        gap = sum((session.stated_gap_usd or _NOTHING for session in missing), _NOTHING)
        names = some([session.session_id for session in missing])
        count = many(len(missing), "session")
        yield f"By their own account, {count} cost {usd(gap)} more than the calls that are known of them: {names}."
    yield from reading_warnings(files)
    if files and not sessions and all(file.format for file in files):
        formats = some(sorted({file.format for file in files}))
        yield f"No call was found in {many(len(files), 'file')}, read as {formats}: is that what they are?"


def reading_warnings(files: Sequence[FileAudit]) -> Iterator[str]:
    """What a reader should know of files that could not be read, or not as a whole."""
    unread = [file for file in files if not file.format]
    if unread:
        yield f"{many(len(unread), 'file')} could not be read: {_places(unread)}."
    partly = [file for file in files if file.format and file.skipped]
    if partly:
        skipped = sum(file.skipped for file in partly)
        yield f"{many(skipped, 'record')} in {many(len(partly), 'file')} could not be read: {_places(partly)}."


def _places(files: Iterable[FileAudit]) -> str:
    """The first thing that is wrong with each of some files."""
    return some([str(file.problems[0]) if file.problems else file.path for file in files], separator="; ")
