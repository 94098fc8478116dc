"""An audit on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from budgeted_agents.reports.audit.report import AuditReport, SessionAudit
from budgeted_agents.reports.audit.words import (
    MEANINGS,
    cost_shares,
    signal_lines,
    summary,
    tokens,
    usd,
    verdict_name,
    verdict_shares,
)
from budgeted_agents.reports.tables import plain
from budgeted_agents.traces.verdicts import Verdict

_BAR = 48
_SMALL_BAR = 16
_COLORS: Mapping[Verdict, str] = {
    "exact": "green",
    "rounding": "bright_green",
    "explained_by_cache_ttl": "cyan",
    "explained_by_unrecorded_cache": "blue",
    "constant_ratio": "magenta",
    "recorded_missing": "bright_black",
    "unpriced": "yellow",
    "mismatch": "red",
}


def audit_table(report: AuditReport, by: str = "model", top: int = 10) -> RenderableType:
    """Totals, verdicts, the dearest sessions, one grouping, signals and warnings.

    Args:
        report: the audit.
        by: the grouping to show.
        top: how many sessions and groups to show.
    """
    parts = [_totals(report), _verdicts(report.verdicts), _sessions(report, top)]
    if by != "session":
        parts.append(_groups(report, by, top))
    return Group(*parts, _signals(report), *_notes(report))


def _totals(report: AuditReport) -> RenderableType:
    totals = report.totals
    amounts = Text.assemble(("Cost ", "dim"), (usd(totals.cost_usd), "bold"))
    amounts.append_text(Text.assemble(("   recorded ", "dim"), (usd(totals.recorded_cost_usd), "bold")))
    gap = report.difference_usd
    if gap:
        style = "red" if abs(gap) * 100 > (totals.cost_usd or 0) else "yellow"
        amounts.append_text(Text.assemble(("   where both are known, recorded differs by ", "dim"), (usd(gap), style)))
    return Padding(Group(amounts, Text(summary(report), style="dim")), (1, 0, 1, 1))


def _verdicts(verdicts: Mapping[Verdict, int]) -> RenderableType:
    """One bar over all calls, and what its colors mean."""
    bar, lines = Text(" "), Table.grid(padding=(0, 2))
    for verdict, calls, share in verdict_shares(verdicts):
        color = _COLORS[verdict]
        bar.append("█" * max(round(share * _BAR), 1), color)
        name = Text.assemble((" ■ ", color), verdict_name(verdict))
        lines.add_row(name, Text(f"{calls:,}", justify="right"), f"{share:.1%}", Text(MEANINGS[verdict], "dim"))
    return Group(bar, lines)


def _sessions(report: AuditReport, top: int) -> Table:
    shown = report.sessions[:top]
    more = len(report.sessions) - len(shown)
    title = f"The dearest {len(shown)} of {len(report.sessions):,} sessions" if more > 0 else "Sessions"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for name in ("session", "models"):
        table.add_column(name, overflow="fold", max_width=38)
    for name in ("calls", "in", "out", "cost", "recorded"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("flags", overflow="fold")
    for session in shown:
        table.add_row(*_session_cells(session))
    return table


def _session_cells(session: SessionAudit) -> tuple[RenderableType, ...]:
    figures = session.figures
    numbers = (f"{figures.calls:,}", f"{figures.input_tokens:,}", f"{figures.output_tokens:,}")
    verdict = Text(verdict_name(session.verdict), _COLORS[session.verdict])
    flags = plain(", ".join(flag.replace("_", " ") for flag in session.flags), "dim")
    amounts = (usd(figures.cost_usd), usd(figures.recorded_cost_usd))
    return (plain(session.session_id), plain(", ".join(session.models)), *numbers, *amounts, verdict, flags)


def _groups(report: AuditReport, by: str, top: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"By {by}", title_justify="left", title_style="bold")
    table.add_column(by, overflow="fold", max_width=48)
    for name in ("calls", "tokens", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for name, figures, share in cost_shares(report.groups[by], top):
        bar = Text("█" * round(share * _SMALL_BAR), "cyan")
        table.add_row(plain(name or "(not said)"), f"{figures.calls:,}", tokens(figures), usd(figures.cost_usd), bar)
    return table


def _signals(report: AuditReport) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    for name, value in signal_lines(report):
        grid.add_row(Text(name, "dim"), value)
    return Padding(grid, (0, 0, 1, 1))


def _notes(report: AuditReport) -> Iterator[RenderableType]:
    for warning in report.warnings:
        yield plain(f" ! {warning}", "yellow")
    if report.price_sources:
        yield plain(f" Prices: {', '.join(report.price_sources)}", "dim")
