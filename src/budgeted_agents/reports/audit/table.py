"""An audit on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from budgeted_agents.reports.audit.words import (
    MEANINGS,
    cost_shares,
    cut,
    flag_name,
    signal_lines,
    some,
    summary,
    tokens,
    usd,
    verdict_name,
    verdict_shares,
)
from budgeted_agents.reports.tables import plain
from budgeted_agents.traces.audit.verdicts import VERDICTS, Verdict

if TYPE_CHECKING:
    from budgeted_agents.reports.audit.report import AuditReport, SessionAudit

_BAR = 48
_SMALL_BAR = 16
_NARROW, _WIDE = 74, 130
"""Columns of a terminal below which sessions are shown without their models, and from which on with everything."""

_OTHER_COLUMNS = {True: 108, False: 58}
"""Columns that a wide table of sessions, and one that is not, need beside those of names."""

_SHORTEST_NAME = 8
_COLORS: Mapping[Verdict, str] = {
    "exact": "green",
    "rounding": "bright_green",
    "explained_by_cache_ttl": "cyan",
    "explained_by_unrecorded_cache": "blue",
    "explained_by_logged_price": "bright_blue",
    "constant_ratio": "magenta",
    "recorded_missing": "bright_black",
    "unpriced": "yellow",
    "mismatch": "red",
}


@dataclass(frozen=True)
class AuditTable:
    """An audit to print; it takes the width there is.

    Attributes:
        report: the audit.
        by: the grouping to show.
        top: how many sessions and groups to show.
    """

    report: AuditReport
    by: str = "model"
    top: int = 10

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _totals(self.report)
        yield _verdicts(self.report.verdicts, options.max_width)
        yield _sessions(self.report, self.top, options.max_width)
        if self.by != "session":
            yield _groups(self.report, self.by, self.top, options.max_width)
        yield _signals(self.report)
        yield from _notes(self.report)


def _totals(report: AuditReport) -> RenderableType:
    totals = report.totals
    amounts = Text.assemble(("Cost ", "dim"), (usd(totals.cost_usd), "bold"))
    amounts.append_text(Text.assemble(("   recorded ", "dim"), (usd(totals.recorded_cost_usd), "bold")))
    gap = report.difference_usd
    if gap:
        style = "red" if abs(gap) * 100 > (totals.cost_usd or 0) else "yellow"
        amounts.append_text(Text.assemble(("   where both are known, recorded differs by ", "dim"), (usd(gap), style)))
    return Padding(Group(amounts, Text(summary(report), style="dim")), (1, 0, 1, 1))


def _verdicts(verdicts: Mapping[Verdict, int], width: int) -> RenderableType:
    """One bar over all calls, and what its colors mean."""
    bar, lines, whole = Text(" "), Table.grid(padding=(0, 2)), min(_BAR, width - len(VERDICTS) - 1)
    for verdict, calls, share in verdict_shares(verdicts):
        color = _COLORS[verdict]
        bar.append("█" * max(round(share * whole), 1), color)
        name = Text.assemble((" ■ ", color), verdict_name(verdict))
        lines.add_row(name, Text(f"{calls:,}", justify="right"), f"{share:.1%}", Text(MEANINGS[verdict], "dim"))
    return Group(bar, lines)


def _sessions(report: AuditReport, top: int, width: int) -> Table:
    """The dearest sessions; where there is little room, without token counts, flags and models."""
    shown = report.sessions[:top]
    is_cut, is_narrow, is_wide = len(shown) < len(report.sessions), width < _NARROW, width >= _WIDE
    title = f"The dearest {len(shown)} of {len(report.sessions):,} sessions" if is_cut else "Sessions"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    names = max((width - _OTHER_COLUMNS[is_wide]) // 2, _SHORTEST_NAME)
    for name in ("session",) if is_narrow else ("session", "models"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=names)
    for name in ("calls", "in", "out", "cost", "recorded") if is_wide else ("calls", "cost", "recorded"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("verdict", no_wrap=not is_narrow)
    if is_wide:
        table.add_column("flags", no_wrap=True, overflow="ellipsis", max_width=24)
    for session in shown:
        table.add_row(*_session_cells(session, is_narrow, is_wide))
    return table


def _session_cells(session: SessionAudit, is_narrow: bool, is_wide: bool) -> list[RenderableType]:
    figures = session.figures
    models = [] if is_narrow else [plain(cut(", ".join(session.models)))]
    tokens = [f"{figures.input_tokens:,}", f"{figures.output_tokens:,}"] if is_wide else []
    return [
        plain(cut(session.session_id)),
        *models,
        f"{figures.calls:,}",
        *tokens,
        usd(figures.cost_usd),
        usd(figures.recorded_cost_usd),
        Text(verdict_name(session.verdict), _COLORS[session.verdict]),
        *([plain(cut(", ".join(map(flag_name, session.flags))), "dim")] if is_wide else []),
    ]


def _groups(report: AuditReport, by: str, top: int, width: int) -> Table:
    longest = _SMALL_BAR if width >= _NARROW else _SMALL_BAR // 2
    table = Table(box=box.SIMPLE_HEAD, title=f"By {by}", title_justify="left", title_style="bold")
    table.add_column(by, overflow="fold", max_width=48)
    for name in ("calls", "tokens", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for name, figures, share in cost_shares(report.groups[by], top):
        bar = Text("█" * round(share * longest), "cyan")
        table.add_row(
            plain(cut(name) or "(not said)"), f"{figures.calls:,}", tokens(figures), usd(figures.cost_usd), bar
        )
    return table


def _signals(report: AuditReport) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    for name, value in signal_lines(report):
        grid.add_row(Text(name, "dim"), value)
    return Padding(grid, (0, 0, 1, 1))


def _notes(report: AuditReport) -> Iterator[RenderableType]:
    flags = ", ".join(f"{flag_name(flag)} ({sessions:,})" for flag, sessions in report.flags.items())
    if flags:
        yield plain(f" Sessions with flags: {flags}", "dim")
    for warning in report.warnings:
        yield plain(f" ! {warning}", "yellow")
    if report.price_sources:
        yield plain(f" Prices: {some(report.price_sources)}", "dim")
