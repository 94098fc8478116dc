"""Showing runs on a terminal: one as it goes on, several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from budgeted_agents.budget import Budget
from budgeted_agents.demo.setting import Setting
from budgeted_agents.governor.ladder import CLAMPED
from budgeted_agents.ledgers import open_ledger
from budgeted_agents.meter import BudgetEvent, new_id
from budgeted_agents.money import NANO, format_usd, to_usd
from budgeted_agents.reports import SpendReport
from budgeted_agents.reports.tables import grouped
from budgeted_agents.traces import CallRecord

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"alert": "yellow", "downgrade": "magenta", "landing": "bold red", "refusal": "red", "exhausted": "bold red"}
_BAR = 12
_EXCERPT = 300
_LIMIT = {"recursion_limit": 100}


def watch(console: Console, setting: Setting, budget: Budget, ledger: str, journal: Path) -> dict[str, Any]:
    """Run the agent and print each step with its cost, each event as it comes, the answer, and the report.

    What it does is written down in ``journal``.
    """
    events: list[BudgetEvent] = []
    told: list[str] = []
    listeners = (events.append, lambda event: told.append(event.kind))
    app = setting.app(budget, open_ledger(ledger), listeners, journal)
    session = f"demo-{new_id()[8:16]}"  # a ledger may hold earlier demonstrations
    config = {"configurable": {"thread_id": session}, "metadata": {"feature": "research", "tenant": "you"}} | _LIMIT
    spent, shown, state = 0, 0, {}
    for update in app.stream({"question": setting.question}, config, stream_mode="values"):
        state = update
        calls = app.spend(config).calls
        _print_events(console, events, "downgrade", "landing")
        for call, times in grouped(calls[shown:]):
            spent += call.cost
            console.print(_step(call, times, spent, budget))
        shown = len(calls)
        _print_events(console, events)
    report = app.spend(config)
    console.print(Panel(Text(_answer_of(state)), title="Answer", title_align="left", border_style="green"))
    console.print(report)
    console.print(_bill(setting, report))
    if not ledger.startswith("memory:"):
        again = Text(f"Again: budgeted-agents report {ledger} --session {session}", style="dim")
        console.print(again, soft_wrap=True)  # to be copied whole
    return {
        "answer": _answer_of(state),
        "events": told,
        "bill_usd": _billed(setting),
        "journal": str(journal),
        "report": report.to_json(),
    }


def compare(console: Console, setting: Setting, budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    """The same question under several budgets, side by side."""
    rows = []
    with console.status("The same question under three budgets ..."):
        for number, budget in enumerate(budgets):
            app = setting.app(budget)
            config = {"configurable": {"thread_id": f"compare-{number}"}} | _LIMIT
            state = app.invoke({"question": setting.question}, config)
            rows.append((budget, app.spend(config), _answer_of(state)))
    console.print(_comparison(rows))
    return [{"budget_usd": str(b.usd), "answer": answer, "report": report.to_json()} for b, report, answer in rows]


def _step(call: CallRecord, times: int, spent: int, budget: Budget) -> Text:
    if call.kind == "tool":
        number = f" x {times}" if times > 1 else ""
        return Text(f"{call.step or '':>4} {call.node:<9} {call.tool}{number}", style="dim")
    limit = budget.usd_nanos or 0
    share = min(spent / limit, 1.0) if limit else 0.0
    full = round(share * _BAR)
    color = "red" if share >= budget.downgrade_at else "yellow" if share >= budget.alert_at else "green"
    model = call.model_used.rpartition("/")[2]
    stepped = " ↓" if call.model_used != call.model_asked else ""
    limited = f" ≤{call.output_limit:,}" if call.reason == CLAMPED else ""
    return Text.assemble(
        f"{call.step or '':>4} {call.node:<9} {model:<12} {call.input_tokens:>6,} in {call.output_tokens:>5,} out",
        (f"{format_usd(call.cost):>10}", "bold"),
        " ",
        ("█" * full, color),
        ("░" * (_BAR - full), "dim"),
        f" {share:>4.0%}",
        (stepped + limited, "magenta"),
    )


def _print_events(console: Console, events: list[BudgetEvent], *kinds: str) -> None:
    """Print and forget events: those of some kinds, or all."""
    chosen = [event for event in events if not kinds or event.kind in kinds]
    events[:] = [event for event in events if event not in chosen]
    for event in chosen:
        if event.kind != "refusal":  # the landing that follows says the same
            console.print(Text(f"     {event.kind}: {_brief(event)}", style=_STYLES.get(event.kind, "dim")))


def _brief(event: BudgetEvent) -> str:
    """An event's message without the account's key, the landing's remedy and its own name."""
    return event.message.partition(" (")[0].removeprefix("Landing: ")


def _billed(setting: Setting) -> str | None:
    """USD by the provider's own bill; None if it keeps none that can be seen."""
    return None if setting.provider is None else str(to_usd(setting.provider.bill_nanos))


def _bill(setting: Setting, report: SpendReport) -> Text:
    if setting.provider is None:
        return Text("The provider's own bill is in its console.", style="dim")
    billed = setting.provider.bill_nanos
    same = "the same" if billed == report.cost_nanos else f"{format_usd(report.cost_nanos)} by the ledger"
    return Text(f"The provider's own bill for this run: {format_usd(billed)} ({same}).", style="bold")


def _comparison(rows: Sequence[tuple[Budget, SpendReport, str]]) -> Table:
    table = Table(box=box.ROUNDED, title="The same question under three budgets", title_justify="left", show_lines=True)
    table.add_column("")
    for budget, _, _ in rows:
        table.add_column(f"budget {format_usd(budget.usd_nanos or 0)}", ratio=1)
    table.add_row("spent", *(_spent(budget, report) for budget, report, _ in rows))
    table.add_row("models", *(_models(report) for _, report, _ in rows))
    table.add_row("read", *(_pages(report) for _, report, _ in rows))
    table.add_row("ended", *("landed" if report.landing else "finished" for _, report, _ in rows))
    table.add_row("answer", *(Text(_excerpt(answer)) for _, _, answer in rows))
    return table


def _pages(report: SpendReport) -> str:
    return f"{sum('read' in call.tool for call in report.tool_calls)} pages"


def _spent(budget: Budget, report: SpendReport) -> str:
    share = report.cost_nanos / (budget.usd_nanos or 1)
    return f"{format_usd(report.cost_nanos)} ({share:.0%}) in {len(report.model_calls)} model calls"


def _models(report: SpendReport) -> str:
    names = [call.model_used.rpartition("/")[2] for call in report.model_calls if call.outcome == "settled"]
    return "\n".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))


def _excerpt(answer: str) -> str:
    return answer if len(answer) <= _EXCERPT else answer[:_EXCERPT].rsplit(" ", 1)[0] + " ..."


def _answer_of(state: dict[str, Any]) -> str:
    messages = state.get("messages") or []
    return str(state.get("answer") or (messages[-1].text if messages else "No answer."))


def three_budgets(middle: Budget) -> list[Budget]:
    """A tenth of a budget, the budget itself, and forty times as much."""
    assert middle.usd is not None
    # The answer costs the same whatever the budget, so a small one keeps a larger share for it.
    tight = middle.model_copy(update={"usd": _whole_nanos(middle.usd / 10), "landing_reserve": 0.2})
    return [tight, middle, middle.model_copy(update={"usd": middle.usd * 40})]


def _whole_nanos(usd: Decimal) -> Decimal:
    return Decimal(max(int(usd * NANO), 1)) / NANO
