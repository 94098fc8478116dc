"""Charts as inline SVG. Colors are classes, so that the style sheet decides for light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from budgeted_agents.reports.audit.page.markup import Html, element, text
from budgeted_agents.reports.audit.words import usd, verdict_name, verdict_shares
from budgeted_agents.traces.audit.verdicts import Verdict

_WIDTH, _HEIGHT = 1000, 180
_MOST_COLUMNS = 120


def share_bar(share: float) -> Html:
    """A thin bar for a share from 0 to 1."""
    bar = element("rect", class_="bar", width=round(share * 100, 2), height=8, rx=1)
    return element("svg", bar, class_="share", viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true")


def verdict_bar(verdicts: Mapping[Verdict, int]) -> Html:
    """One bar over all calls, a piece for each verdict."""
    pieces, start = [], 0.0
    for verdict, calls, share in verdict_shares(verdicts):
        width = share * _WIDTH
        title = element("title", text(f"{verdict_name(verdict)}: {calls:,} ({share:.1%})"))
        rect = element("rect", x=round(start, 2), width=round(width, 2), height=24, class_=f"v-{verdict}")
        pieces.append(element("g", title, rect))
        start += width
    return element(
        "svg",
        *pieces,
        class_="verdicts",
        viewBox=f"0 0 {_WIDTH} 24",
        preserveAspectRatio="none",
        role="img",
        aria_label="Verdicts",
    )


def day_chart(costs: Mapping[str, Decimal]) -> Html:
    """Columns of cost by day, or by month where there are too many days.

    Args:
        costs: USD by ISO date.
    """
    columns = _columns(costs)
    highest = max((cost for _, cost in columns), default=Decimal(0))
    step = _WIDTH / max(len(columns), 1)
    bars = []
    for index, (name, cost) in enumerate(columns):
        height = float(cost / highest) * _HEIGHT if highest else 0.0
        title = element("title", text(f"{name}: {usd(cost)}"))
        rect = element(
            "rect",
            class_="bar",
            x=round(index * step + step * 0.1, 2),
            y=round(_HEIGHT - height, 2),
            width=round(min(step * 0.8, 80), 2),
            height=round(height, 2),
        )
        bars.append(element("g", title, rect))
    chart = element(
        "svg",
        *bars,
        class_="days",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label="Cost over time",
    )
    ends = [text(name) for name, _ in (columns[0], columns[-1])] if columns else []
    axis = element("div", *(element("span", end) for end in ends), class_="axis")
    return element("figure", element("figcaption", text(f"highest: {usd(highest)}")), chart, axis)


def _columns(costs: Mapping[str, Decimal]) -> Sequence[tuple[str, Decimal]]:
    """Every day from the first to the last; every month where those are too many."""
    first, last = date.fromisoformat(min(costs)), date.fromisoformat(max(costs))
    days = [(first + timedelta(days=offset)).isoformat() for offset in range((last - first).days + 1)]
    if len(days) <= _MOST_COLUMNS:
        return [(day, costs.get(day, Decimal(0))) for day in days]
    months = dict.fromkeys((day[:7] for day in days), Decimal(0))
    for day, cost in costs.items():
        months[day[:7]] += cost
    return list(months.items())[-_MOST_COLUMNS:]
