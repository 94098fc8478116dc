"""Live runs of the demonstration's agent: their journal, the ledger and the provider's bill say the same, exactly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.demo import opened
from budgeted_agents.ledgers import MemoryLedger, open_ledger
from budgeted_agents.money import to_usd
from budgeted_agents.reports.replay import replay
from budgeted_agents.reports.verification import verify
from budgeted_agents.traces import BudgetEvent, CallRecord
from budgeted_agents.traces.records.journal import beside, read_journal
from budgeted_agents.traces.records.rebuild import folded, rebuild

USD = ("0.004", "0.02", "0.05")
"""A budget for each session: the first two land, one of them after stepping down."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, int]]:
    """The ledger, its journal, and the provider's bill in nano-USD, session by session."""
    url = f"sqlite:///{tmp_path_factory.mktemp('demo')}/spend.db"
    journal = beside(url)
    assert journal is not None
    bills: dict[str, int] = {}
    with opened(None, None, (), None) as setting:
        assert setting.provider is not None
        for number, usd in enumerate(USD):
            app = setting.app(Budget(usd=usd, tool_calls=40, alert_at=0.5, downgrade_at=0.75), url, journal=journal)
            before = setting.provider.bill_nanos
            app.invoke({"question": setting.question}, {"configurable": {"thread_id": f"s{number}"}})
            bills[f"s{number}"] = setting.provider.bill_nanos - before
    return url, journal, bills


def test_session_by_session(recorded: tuple[str, Path, dict[str, int]]) -> None:
    url, journal, bills = recorded
    found = [line.recorded for line in read_journal(journal, [])]
    told: Counter[str] = Counter()
    for call in found:
        if isinstance(call, CallRecord):
            told[call.session] += call.cost
    ledger = open_ledger(url)
    dollars = [account for account in ledger.accounts() if account.unit == "usd"]
    booked = {balance.account.scope[0][1]: balance.spent for balance in ledger.balances(dollars)}
    assert told == bills == booked
    assert min(bills.values()) > 0
    assert {event.kind for event in found if isinstance(event, BudgetEvent)} >= {"alert", "downgrade", "landing"}


def test_replay_finds_every_session_at_its_bill(recorded: tuple[str, Path, dict[str, int]]) -> None:
    _, journal, bills = recorded
    report = replay(journal)
    expected = {session: to_usd(nanos) for session, nanos in bills.items()}
    assert {each.session_id: each.figures.cost_usd for each in report.sessions} == expected
    assert {each.session_id: each.figures.recorded_cost_usd for each in report.sessions} == expected
    assert set(report.verdicts) == {"exact"}


def test_the_ledger_can_be_had_back_from_it(recorded: tuple[str, Path, dict[str, int]]) -> None:
    url, journal, _ = recorded
    ledger = open_ledger(url)
    assert verify(ledger, folded(read_journal(journal, []), [])).agrees
    again = MemoryLedger()
    rebuild(again, read_journal(journal, []), [])
    balances = [set(each.balances(each.accounts())) for each in (ledger, again)]
    assert balances[0] == balances[1]
