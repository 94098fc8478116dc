"""What-if on a terminal: policies side by side, then the sessions each would have changed most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from budgeted_agents.money import format_usd
from budgeted_agents.reports.tables import plain
from budgeted_agents.simulation.session import Moment

if TYPE_CHECKING:
    from budgeted_agents.simulation.report import PolicyWhatIf, SessionWhatIf, WhatIfReport

_BAR = 10
_SESSIONS = 8
"""Sessions shown of each policy; ``--json`` and ``--csv`` have them all."""


def what_if_table(report: WhatIfReport) -> RenderableType:
    """Figures side by side, the sessions that would have been changed, and warnings."""
    parts: list[RenderableType] = [_side_by_side(report)]
    parts += [table for policy in report.policies if (table := _sessions(policy)) is not None]
    return Group(*parts, *(plain(f" ! {warning}", "yellow") for warning in report.warnings))


def _side_by_side(report: WhatIfReport) -> RenderableType:
    recorded = report.policies[0].totals
    intro = Text.assemble(
        ("Recorded ", "dim"),
        (format_usd(recorded.cost), "bold"),
        (f"   {len(report.policies[0].sessions):,} sessions · {recorded.calls:,} calls", "dim"),
    )
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for policy in report.policies:
        table.add_column(plain(policy.name), justify="right", overflow="fold")
    for name, cell in _LINES.items():
        cells = [cell(policy) for policy in report.policies]
        if name in _ALWAYS or any(text not in ("0", "$0.00") for text in cells):
            table.add_row(Text(name, "dim"), *cells)
    table.add_row(Text("share of work cut", "dim"), *(_bar(policy.share_cut) for policy in report.policies))
    return Group(Padding(intro, (1, 0, 0, 1)), table)


_ALWAYS = frozenset({"would have cost", "saved", "sessions alerted", "sessions stepped down", "calls cut"})

_LINES: dict[str, Callable[[PolicyWhatIf], str]] = {
    "would have cost": lambda policy: format_usd(policy.totals.cost_after),
    "saved": lambda policy: f"{format_usd(policy.totals.saved)} ({policy.share_saved:.1%})",
    "sessions alerted": lambda policy: f"{policy.sessions_alerted:,}",
    "sessions stepped down": lambda policy: f"{policy.sessions_downgraded:,}",
    "sessions landed": lambda policy: f"{policy.endings['landed']:,}",
    "sessions suspended": lambda policy: f"{policy.endings['suspended']:,}",
    "sessions ended by an error": lambda policy: f"{policy.endings['raised']:,}",
    "sessions refused, if enforced": lambda policy: f"{policy.sessions_watched:,}",
    "calls stepped down": lambda policy: f"{policy.totals.downgraded:,}",
    "answers cut off": lambda policy: f"{policy.totals.shortened:,}",
    "calls cut": lambda policy: f"{policy.totals.calls_cut:,}",
    "tokens cut": lambda policy: f"{policy.totals.tokens_cut:,}",
    "cost of the calls cut": lambda policy: format_usd(policy.totals.cost_cut),
    "tool calls cut": lambda policy: f"{policy.totals.tool_calls_cut:,}",
    "landing, at most": lambda policy: format_usd(policy.totals.landing_reserve),
    "calls above what was held": lambda policy: f"{policy.totals.overruns:,}",
}


def _bar(share: float) -> Text:
    full = min(round(share * _BAR), _BAR)
    color = "red" if share >= 0.5 else "yellow" if share > 0 else "green"
    return Text.assemble(("█" * full, color), ("░" * (_BAR - full), "dim"), f" {share:.1%}")


def _sessions(policy: PolicyWhatIf) -> Table | None:
    changed = [session for session in policy.sessions if _is_changed(session)]
    if not changed:
        return None
    more = f", the first {_SESSIONS} of {len(changed):,}" if len(changed) > _SESSIONS else ""
    table = Table(box=box.SIMPLE_HEAD, title=plain(f"{policy.name}: sessions changed{more}"), title_justify="left")
    table.add_column("session", overflow="fold", max_width=38)
    for name in ("recorded", "after", "calls", "cut"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what would have happened", overflow="fold")
    for session in changed[:_SESSIONS]:
        found = session.outcome
        amounts = (format_usd(found.cost), format_usd(found.cost_after), f"{found.calls:,}", f"{found.calls_cut:,}")
        table.add_row(plain(found.session), *amounts, plain("; ".join(_story(session))))
    return table


def _is_changed(session: SessionWhatIf) -> bool:
    found = session.outcome
    return bool(found.ended or found.stepped_down or found.alerted or found.watched or found.tool_calls_cut)


def _story(session: SessionWhatIf) -> list[str]:
    found = session.outcome
    parts = []
    if found.alerted:
        parts.append(f"alert{_at(found.alerted)}")
    if found.stepped_down:
        parts.append(f"steps down{_at(found.stepped_down)}")
    if found.ended:
        parts.append(f"{session.ending}{_at(found.ended.moment)} by {found.ended.budget!r}")
    if found.watched:
        parts.append(f"refused if enforced{_at(found.watched)}")
    return [*parts, *(flag.replace("_", " ") for flag in session.flags)]


def _at(moment: Moment) -> str:
    return f" at call {moment.call}" if moment.call else ""
