"""Reports as tables for a terminal. Rich is imported when one is printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from budgeted_agents.ledgers.contract import Account, Balance
from budgeted_agents.ledgers.topping_up import TopUp
from budgeted_agents.ledgers.units import USD, amount_text, exact_text, unit_text
from budgeted_agents.money import format_usd
from budgeted_agents.traces import CallRecord

if TYPE_CHECKING:
    from budgeted_agents.reports.accounts import AccountReport
    from budgeted_agents.reports.policies import PolicyReport
    from budgeted_agents.reports.spend import SpendReport
    from budgeted_agents.reports.verification import Verification

_BAR = 20
_MOST_DIFFERENCES = 20
_SHORT_NAME = 18
_NARROW = 76
"""Columns of a terminal below which also short names are broken into lines."""


def spend_table(report: SpendReport) -> RenderableType:
    """Calls, balances, and what was refused or landed."""
    parts: list[RenderableType] = [_Calls(report), balances_table(report.balances)]
    parts += [plain(f"refused: {text}", style="yellow") for text in dict.fromkeys(report.refusals)]
    parts += _top_ups(report.top_ups)
    if report.landing:
        parts.append(plain(f"landing: {report.landing}", style="bold"))
    return Group(*parts)


def accounts_table(report: AccountReport) -> RenderableType:
    """Balances, and what was added to them."""
    return Group(balances_table(report.balances), *_top_ups(report.top_ups))


def policy_table(report: PolicyReport) -> Table:
    """Budgets with their limits."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("budget", "per", "window", "limits", "when it runs out"):
        table.add_column(name, overflow="fold")
    for budget in report.policy.budgets:
        limits = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.limits_of(budget).items())
        ending = "only watches" if budget.shadow else budget.on_exhausted
        table.add_row(budget.name, ", ".join(budget.per), budget.window or "", limits, ending)
    return table


def verification_table(report: Verification) -> RenderableType:
    """Accounts with what ledger and journal say of each, then what differs."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("budget", "account", "unit"):
        table.add_column(name, overflow="fold")
    for name in ("ledger", "journal", "held"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for found in report.accounts:
        account = Account.from_key(found.key)
        sums = [exact_text(found.unit, amount) for amount in (found.spent, found.by_journal, found.held)]
        names = (account.budget, _account_text(account), unit_text(found.unit))
        table.add_row(*map(plain, (*names, *sums, "" if found.agrees else "differs")))
    told = [f"{each.kind}: {each}" for each in report.differences[:_MOST_DIFFERENCES]]
    if more := len(report.differences) - len(told):
        told.append(f"and {more:,} more; --json has them all")
    lines = [plain(text, style="red") for text in told]
    lines += [plain(f"passed over: {problem}", style="yellow") for problem in report.problems]
    return Group(table, *lines, plain(str(report), style="bold"))


def _top_ups(found: Iterable[TopUp]) -> list[RenderableType]:
    return [Text(f"topped up: {top_up_text(top_up)}", style="green") for top_up in found]


def top_up_text(top_up: TopUp) -> str:
    """One top-up as a line."""
    amount = amount_text(top_up.account.unit, top_up.amount)
    why = f": {top_up.reason}" if top_up.reason else ""
    return f"{amount} for budget {top_up.account.budget!r} by {top_up.by}{why}"


def as_text(report: SpendReport, width: int = 120) -> str:
    """The same without color, for logs and files."""
    page = StringIO()
    Console(file=page, width=width, color_system=None, force_terminal=False).print(spend_table(report))
    return page.getvalue()


@dataclass(frozen=True)
class _Calls:
    """The calls of a report; it takes the width there is."""

    report: SpendReport

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _calls(self.report, is_narrow=options.max_width < _NARROW)


def _calls(report: SpendReport, is_narrow: bool) -> Table:
    title = plain(f"Session {report.session}")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=0)
    rows = [_call_row(call, times) for call, times in grouped(report.calls)]
    for place, name in enumerate(("step", "node", "asked", "used")):
        # On 80 columns what explains a call is broken into lines before names are; on fewer both, but never amounts.
        is_short = not is_narrow and all(len(row[place]) <= _SHORT_NAME for row in rows)
        table.add_column(name, overflow="fold", no_wrap=is_short)
    for name in ("in", "out", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    table.add_section()
    total = format_usd(report.cost_nanos)
    table.add_row("", "", "", "total", f"{report.input_tokens:,}", f"{report.output_tokens:,}", total, "")
    return table


def grouped(calls: Iterable[CallRecord]) -> Iterator[tuple[CallRecord, int]]:
    """Calls, with equal tool calls of one step as one and their number."""
    for _, group in groupby(calls, key=lambda call: _likeness(call) if call.kind == "tool" else call.id):
        same = list(group)
        yield same[0], len(same)


def _likeness(call: CallRecord) -> tuple[object, ...]:
    """What tool calls have in common that can be shown as one."""
    return (call.step, call.node, call.tool, call.outcome, call.error, call.flags)


def _call_row(call: CallRecord, times: int) -> tuple[str, ...]:
    """A call, or several that are alike, as the cells of a row."""
    why = [call.reason] if call.reason and call.reason != "as asked" else []
    if call.outcome != "settled":
        why.append(call.outcome + (f" after {call.error}" if call.error else ""))
    if call.output_limit is not None and call.output_tokens >= call.output_limit:
        why.append(f"cut off at {call.output_limit:,} tokens")
    why += call.flags
    step = "" if call.step is None else str(call.step)
    if call.kind == "tool":
        return (step, call.node, call.tool, f"tool x {times}" if times > 1 else "tool", "", "", "", "; ".join(why))
    tokens = (f"{call.input_tokens:,}", f"{call.output_tokens:,}")
    return (step, call.node, call.model_asked, _used(call), *tokens, format_usd(call.cost), "; ".join(why))


def _used(call: CallRecord) -> str:
    """The model that was used, as it differs from the one asked for."""
    if call.model_used == call.model_asked:
        return "same"
    provider, slash, _ = call.model_asked.rpartition("/")
    return call.model_used.removeprefix(provider + slash)


def balances_table(balances: Iterable[Balance]) -> Table:
    """Balances with a bar for the share that is spent."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("budget", overflow="fold")
    table.add_column("account", overflow="fold")
    for name in ("spent", "of"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("used", no_wrap=True)
    for balance in balances:
        account = balance.account
        table.add_row(*map(plain, (account.budget, _account_text(account), *_amounts(balance))), _bar(balance))
    return table


def _account_text(account: Account) -> str:
    scope = ", ".join(f"{name}={value}" for name, value in account.scope)
    return " ".join(part for part in (scope, account.window) if part)


def _amounts(balance: Balance) -> tuple[str, str]:
    unit = balance.account.unit
    spent = format_usd(balance.spent) if unit == USD else f"{balance.spent:,}"
    return spent, amount_text(unit, balance.limit)


def _bar(balance: Balance) -> Text:
    share = balance.spent / balance.limit if balance.limit > 0 else 0.0
    full = min(round(share * _BAR), _BAR)
    color = "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
    return Text.assemble(("█" * full, color), ("░" * (_BAR - full), "dim"), f" {share:.1%}")


def plain(text: str, style: str = "") -> Text:
    """Names come from outside: nothing in them is markup, and no control character reaches the terminal."""
    return Text(printable(text), style=style)


def printable(text: str) -> str:
    """A text in which every character can be seen."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
