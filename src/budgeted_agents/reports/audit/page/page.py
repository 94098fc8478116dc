"""The page: its parts, from the top to the bottom."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from importlib.resources import files

from budgeted_agents.reports.audit.page.charts import day_chart, share_bar, verdict_bar
from budgeted_agents.reports.audit.page.markup import Html, element, join, style_sheet, text
from budgeted_agents.reports.audit.report import AuditReport, Figures, SessionAudit
from budgeted_agents.reports.audit.words import (
    MEANINGS,
    cost_shares,
    cut,
    flag_name,
    percent,
    signal_lines,
    some,
    summary,
    tokens,
    usd,
    verdict_name,
    verdict_shares,
)
from budgeted_agents.traces.audit.audit import DIMENSIONS
from budgeted_agents.traces.audit.verdicts import Verdict

_GROUPS = tuple(name for name in DIMENSIONS if name != "day")
"""Days have a chart of their own."""


def audit_page(report: AuditReport, top: int = 100) -> str:
    """The page.

    Args:
        report: the audit.
        top: how many sessions to list, and at most a quarter of that of each grouping.
    """
    css = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(css)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", text("Agent spend")),
        style_sheet(css),
    )
    return f"<!doctype html>\n{element('html', head, element('body', _main(report, top)), lang='en')}\n"


def _policy(css: str) -> str:
    """Nothing may be loaded or run; the one style sheet is known by its digest."""
    digest = b64encode(sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _main(report: AuditReport, top: int) -> Html:
    shown = [name for name in _GROUPS if any(report.groups.get(name, {}))]
    cards = [_group(name, report.groups[name], max(top // 4, 1)) for name in shown]
    return element(
        "main",
        element("h1", text("Agent spend")),
        element("p", text(summary(report)), class_="lead"),
        _figures(report),
        _warnings(report.warnings),
        element("div", _verdicts(report.verdicts), _signals(report), class_="pair"),
        _days(report.groups.get("day", {})),
        element("div", *cards, class_="groups"),
        _sessions(report, top),
        element("footer", text(f"Prices: {some(report.price_sources) or 'none used'}")),
    )


def _figures(report: AuditReport) -> Html:
    totals = report.totals
    figures = [
        ("Cost", usd(totals.cost_usd)),
        ("Recorded", usd(totals.recorded_cost_usd)),
        ("Recorded off by", usd(report.difference_usd)),
        ("Sessions", f"{len(report.sessions):,}"),
        ("Calls", f"{totals.calls:,}"),
        ("Cached input", percent(report.signals.cache_hit_rate)),
    ]
    cards = (
        _card(element("div", text(name), class_="name"), element("div", text(value), class_="value"))
        for name, value in figures
    )
    return element("div", *cards, class_="figures")


def _warnings(warnings: Iterable[str]) -> Html:
    items = [element("li", text(warning)) for warning in warnings]
    return _card(_title("Read this first"), element("ul", *items), kind="card warnings") if items else join()


def _verdicts(verdicts: Mapping[Verdict, int]) -> Html:
    rows = [
        _row(_verdict(verdict), text(f"{calls:,}"), text(percent(share)), text(MEANINGS[verdict]), numbers=(1, 2))
        for verdict, calls, share in verdict_shares(verdicts)
    ]
    return _card(_title("Can the recorded cost be believed?"), verdict_bar(verdicts), element("table", *rows))


def _signals(report: AuditReport) -> Html:
    rows = [_row(text(name), text(value), numbers=(1,)) for name, value in signal_lines(report)]
    return _card(_title("How well it was spent"), element("table", *rows))


def _days(days: Mapping[str, Figures]) -> Html:
    costs = {day: found.cost_usd or Decimal(0) for day, found in days.items() if day}
    return _card(_title("Cost over time"), day_chart(costs)) if len(costs) > 1 else join()


def _group(by: str, group: Mapping[str, Figures], most: int) -> Html:
    rows = [_head(by, "calls", "tokens", "cost", "", numbers=(1, 2, 3))]
    for name, figures, share in cost_shares(group, most):
        cells = [cut(name) or "(not said)", f"{figures.calls:,}", tokens(figures), usd(figures.cost_usd)]
        rows.append(_row(*map(text, cells), share_bar(share), numbers=(1, 2, 3)))
    return _card(_title(f"By {by}"), element("table", *rows), _more(len(group) - most))


def _sessions(report: AuditReport, top: int) -> Html:
    names = ("session", "models", "calls", "tokens in", "out", "cost", "recorded", "verdict", "flags")
    rows = [_session(session) for session in report.sessions[:top]]
    table = element("table", _head(*names, numbers=_NUMBERS), *rows)
    return _card(_title("Sessions, dearest first"), table, _more(len(report.sessions) - top))


_NUMBERS = (2, 3, 4, 5, 6)
"""Columns of the sessions that are numbers."""


def _session(session: SessionAudit) -> Html:
    figures = session.figures
    cells = [cut(session.session_id), cut(", ".join(session.models)), f"{figures.calls:,}"]
    cells += [f"{figures.input_tokens:,}", f"{figures.output_tokens:,}"]
    cells += [usd(figures.cost_usd), usd(figures.recorded_cost_usd)]
    flags = ", ".join(map(flag_name, session.flags))
    return _row(*map(text, cells), _verdict(session.verdict), text(cut(flags)), numbers=_NUMBERS)


def _verdict(verdict: Verdict) -> Html:
    dot = element("svg", element("rect", width=10, height=10, rx=2, class_=f"v-{verdict}"), viewBox="0 0 10 10")
    return element("span", dot, text(verdict_name(verdict)), class_="label")


def _more(hidden: int) -> Html:
    return element("p", text(f"and {hidden:,} more"), class_="soft") if hidden > 0 else join()


def _title(title: str) -> Html:
    return element("h2", text(title))


def _card(*children: Html, kind: str = "card") -> Html:
    return element("section", *children, class_=kind)


def _head(*names: str, numbers: tuple[int, ...]) -> Html:
    return element("tr", *_cells("th", map(text, names), numbers))


def _row(*cells: Html, numbers: tuple[int, ...]) -> Html:
    return element("tr", *_cells("td", cells, numbers))


def _cells(name: str, cells: Iterable[Html], numbers: tuple[int, ...]) -> list[Html]:
    return [element(name, cell, class_="number" if i in numbers else "text") for i, cell in enumerate(cells)]
