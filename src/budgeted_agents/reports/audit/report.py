"""``AuditReport``: what traces say was spent, what it really cost, and whether the recorded figures can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from budgeted_agents.traces.audit.verdicts import Verdict
from budgeted_agents.traces.problems import Problem

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """Calls added up. USD are None where nothing is known: no call has a price, or none was recorded.

    Attributes:
        calls: model calls; in the group of tools, tool calls.
        input_tokens: all input, cached tokens included.
        cached_input_tokens: the part of it that was read from a prompt cache.
        output_tokens: all output.
        cost_usd: what the tokens cost by the price of their day; calls without a price are not in it.
        recorded_cost_usd: what the traces themselves record.
        unpriced_calls: calls whose cost is not known.
        failed_calls: calls that ended in an error.
        failed_cost_usd: what they cost all the same.
    """

    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    recorded_cost_usd: Decimal | None
    unpriced_calls: int
    failed_calls: int
    failed_cost_usd: Decimal

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class SessionAudit:
    """One session.

    Attributes:
        session_id: its id.
        figures: its calls, or what is stated of them where none is known.
        models: the models that answered.
        verdict: on its recorded cost.
        verdicts: how many of its calls got which verdict.
        flags: what is known about the quality of its figures.
        tool_calls: tools that ran, or were asked for.
        repeated_tool_calls: those asked for again with the same arguments.
        loop_cost_usd: what the model calls cost that asked again.
        unrecorded_cache_tokens: input that must have come from a cache although its trace does not say so.
        downgrades: calls answered by a cheaper model than the one asked for.
        stated_gap_usd: by how much a figure for the whole session exceeds the sum of its calls; None unless both exist.
        started_at, ended_at: seconds since the epoch; None where unknown.
        turns: things the user asked for; None where unknown.
        succeeded: whether it reached its goal; None where unknown.
    """

    session_id: str
    figures: Figures
    models: tuple[str, ...]
    verdict: Verdict
    verdicts: Mapping[Verdict, int]
    flags: tuple[str, ...]
    tool_calls: int
    repeated_tool_calls: int
    loop_cost_usd: Decimal
    unrecorded_cache_tokens: int
    downgrades: int
    stated_gap_usd: Decimal | None
    started_at: float | None
    ended_at: float | None
    turns: int | None
    succeeded: bool | None

    @property
    def difference_usd(self) -> Decimal | None:
        """Recorded less recomputed, where both are known of every call."""
        cost, recorded = self.figures.cost_usd, self.figures.recorded_cost_usd
        partial = self.figures.unpriced_calls or "recorded_missing" in self.verdicts
        return None if cost is None or recorded is None or partial else (recorded - cost).normalize()

    def to_json(self) -> Json:
        return {
            "session_id": self.session_id,
            **_figures_json(self.figures, models=list(self.models)),
            "verdict": self.verdict,
            "flags": list(self.flags),
            "difference_usd": _usd(self.difference_usd),
            "stated_gap_usd": _usd(self.stated_gap_usd),
            "call_verdicts": dict(self.verdicts),
            "tool_calls": self.tool_calls,
            "repeated_tool_calls": self.repeated_tool_calls,
            "loop_cost_usd": _usd(self.loop_cost_usd),
            "unrecorded_cache_tokens": self.unrecorded_cache_tokens,
            "downgrades": self.downgrades,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "turns": self.turns,
            "succeeded": self.succeeded,
        }


@dataclass(frozen=True, slots=True)
class Signals:
    """What the figures say about how well money was spent. None where the traces do not tell.

    Attributes:
        cost_per_success_usd: USD of all sessions whose outcome is known, for each that succeeded.
        tokens_per_turn: tokens for each thing a user asked for.
        tool_calls_per_session: tool calls.
        downgrade_share: share of calls that a cheaper model answered than the one asked for.
        cache_hit_rate: share of input tokens that were read from a prompt cache.
        premium_share: share of the cost that went to dear models (from $10 for a million output tokens on).
        repeated_tool_calls: tool calls asked for again in a session, with the same arguments.
        loop_cost_usd: what the model calls cost that asked for them again.
        failed_cost_usd: what calls cost that ended in an error.
        unsuccessful_cost_usd: what sessions cost that did not reach their goal.
    """

    cost_per_success_usd: Decimal | None
    tokens_per_turn: float | None
    tool_calls_per_session: float | None
    downgrade_share: float | None
    cache_hit_rate: float | None
    premium_share: float | None
    repeated_tool_calls: int
    loop_cost_usd: Decimal
    failed_cost_usd: Decimal
    unsuccessful_cost_usd: Decimal | None

    def to_json(self) -> Json:
        return {
            name: _usd(value) if isinstance(value, Decimal) else round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class FileAudit:
    """One file that was read.

    Attributes:
        path: as the user named it.
        format: what it was read as; empty if nothing could read it.
        calls: calls and statements it gave.
        skipped: records that were passed over.
        problems: the first of them, and what else was odd, with their lines.
    """

    path: str
    format: str
    calls: int
    skipped: int
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> Json:
        return {
            "path": self.path,
            "format": self.format or None,
            "calls": self.calls,
            "skipped": self.skipped,
            "problems": [str(problem) for problem in self.problems],
        }


@dataclass(frozen=True)
class AuditReport:
    """An audit of traces.

    Attributes:
        sessions: dearest first.
        totals: all sessions added up.
        verdicts: how many calls got which verdict; of sessions without calls, as many as were stated.
        groups: the same calls by model, node, tool, tenant, feature and day: figures by name, dearest first. An empty
            name stands for what the traces do not say. A tool is charged its share of the answers that asked for it.
        signals: how well money was spent.
        files: what was read.
        price_sources: the price lists used.
        warnings: what a reader should know before believing the figures.
    """

    sessions: tuple[SessionAudit, ...]
    totals: Figures
    verdicts: Mapping[Verdict, int]
    groups: Mapping[str, Mapping[str, Figures]]
    signals: Signals
    files: tuple[FileAudit, ...] = ()
    price_sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def session_verdicts(self) -> dict[Verdict, int]:
        """How many sessions got which verdict."""
        return dict(Counter(session.verdict for session in self.sessions))

    @property
    def difference_usd(self) -> Decimal | None:
        """Recorded less recomputed, over the sessions where both are known of every call."""
        known = [gap for session in self.sessions if (gap := session.difference_usd) is not None]
        return sum(known, Decimal(0)).normalize() if known else None

    @property
    def flags(self) -> dict[str, int]:
        """How many sessions have which flag."""
        return dict(sorted(Counter(flag for session in self.sessions for flag in session.flags).items()))

    def to_json(self) -> Json:
        """A JSON object; money as decimal strings of USD, None where nothing is known."""
        return {
            "sessions": [session.to_json() for session in self.sessions],
            "totals": {
                "sessions": len(self.sessions),
                **_figures_json(self.totals),
                "difference_usd": _usd(self.difference_usd),
                "flags": self.flags,
            },
            "verdicts": dict(self.verdicts),
            "session_verdicts": self.session_verdicts,
            "files": [file.to_json() for file in self.files],
            "groups": {
                dimension: [{"name": name, **_figures_json(figures)} for name, figures in group.items()]
                for dimension, group in self.groups.items()
            },
            "signals": self.signals.to_json(),
            "prices": list(self.price_sources),
            "warnings": list(self.warnings),
        }

    def rows(self, by: str = "session") -> list[Json]:
        """Flat rows for a data frame or a CSV file; money as Decimal.

        Args:
            by: ``session``, or one of ``groups``.

        Raises:
            KeyError: there is no such grouping.
        """
        if by == "session":
            return [_session_row(session) for session in self.sessions]
        return [{by: name, **asdict(figures)} for name, figures in self.groups[by].items()]

    def __rich__(self) -> Any:
        from budgeted_agents.reports.audit.table import AuditTable

        return AuditTable(self)


def _session_row(session: SessionAudit) -> Json:
    row = {name: getattr(session, name) for name in SessionAudit.__slots__ if name not in ("figures", "verdicts")}
    joined = {"models": ", ".join(session.models), "flags": ", ".join(session.flags)}
    ids = {"session_id": row.pop("session_id")}
    return {**ids, **asdict(session.figures), **row, **joined, "difference_usd": session.difference_usd}


def _figures_json(figures: Figures, **more: Any) -> Json:
    body: Json = {"calls": figures.calls, **more}
    for name, value in asdict(figures).items():
        body[name] = _usd(value) if name.endswith("_usd") else value
    return body


def _usd(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
