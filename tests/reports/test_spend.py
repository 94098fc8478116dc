"""A report is a fold over the ledger's entries and notes, and its sums are the ledger's."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from budgeted_agents.ledgers.contract import Account, Hold, Ledger, Reservation
from budgeted_agents.ledgers.memory import MemoryLedger
from budgeted_agents.ledgers.sqlite import SqliteLedger
from budgeted_agents.ledgers.topping_up import TopUpLine, top_up
from budgeted_agents.reports import SpendReport, account_report, spend_report
from budgeted_agents.reports.tables import as_text
from budgeted_agents.traces import CallRecord

NOW = 1_800_000_000.0
MEMO = {"kind": "model", "run": "r1", "step": 2, "attribution": {"node": "writer"}}
SESSION = Account("session", (("session", "s1"),))
TENANT = Account("tenant", (("tenant", "acme"),), "m:2027-01")


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made: Ledger = MemoryLedger() if request.param == "memory" else SqliteLedger(tmp_path / "spend.db")
    yield made
    made.close()


def reserve(ledger: Ledger, id: str, amount: int = 1_000, session: str = "s1", **memo: Any) -> None:
    scope = (("session", session),)
    holds = [Hold(account, 10**9, amount) for account in (Account("session", scope), TENANT)]
    holds.append(Hold(Account("session", scope, "", "model_calls"), 100, 1))
    kept = {**MEMO, "model_asked": "gpt-4o", "model_used": "gpt-4o-mini", **memo}
    answer = ledger.reserve(id, holds, floor=0, ask=0, now=NOW, ttl=60, session=session, memo=kept)
    assert isinstance(answer, Reservation)


def record(id: str, outcome: str = "settled", **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": id,
        "kind": "model",
        "session": "s1",
        "run": "r1",
        "started_at": NOW,
        "ended_at": NOW + 1,
        "outcome": outcome,
        "model_asked": "gpt-4o",
        "model_used": "gpt-4o",
        **fields,
    }
    return CallRecord(**given).to_json()


def settle(ledger: Ledger, id: str, cost: int, **fields: Any) -> None:
    reserve(ledger, id)
    ledger.settle(id, {"usd": cost}, now=NOW + 1, record=record(id, cost=cost, **fields))


def a_session(ledger: Ledger) -> SpendReport:
    """One of everything."""
    usage = {"input_tokens": 8_000, "output_tokens": 500}
    settle(ledger, "asked", 700, usage=usage, step=1, attribution={"node": "plan"}, reason="as asked")
    settle(
        ledger,
        "cheaper",
        300,
        usage=usage,
        step=2,
        model_used="gpt-4o-mini",
        reason="pressure 92% on budget 'session'",
        output_limit=500,
        flags=("estimated",),
    )
    settle(ledger, "tool", 0, kind="tool", tool="search", model_asked="", model_used="")
    reserve(ledger, "refused-by-provider")
    ledger.release("refused-by-provider", now=NOW, record=record("refused-by-provider", "released", error="RateLimit"))
    reserve(ledger, "timed-out")
    ledger.presume("timed-out", now=NOW, record=record("timed-out", "presumed", cost=1_000, error="Timeout"))
    reserve(ledger, "never-sent")
    ledger.release("never-sent", now=NOW)
    reserve(ledger, "worker-died", 4_000)
    ledger.expire(NOW + 100)
    reserve(ledger, "someone-elses", session="s2")
    holds = [Hold(SESSION, 10**9, 50)]
    ledger.reserve("in-flight", holds, floor=0, ask=0, now=NOW + 100, ttl=60, session="s1", memo=MEMO)
    ledger.note("s1", {"kind": "refusal", "message": "Budget 'session' cannot cover it"}, now=NOW + 100)
    ledger.note("s1", {"kind": "landing", "message": "Landed by the finalizer", "run": "r1"}, now=NOW + 101)
    ledger.note("s2", {"kind": "landing", "message": "another session's"}, now=NOW + 101)
    return spend_report(ledger, "s1", now=NOW + 101)


def test_every_call_that_ended_is_there_once_in_its_order(ledger: Ledger) -> None:
    report = a_session(ledger)
    assert [(call.id, call.outcome, call.cost) for call in report.calls] == [
        ("asked", "settled", 700),
        ("cheaper", "settled", 300),
        ("tool", "settled", 0),
        ("refused-by-provider", "released", 0),
        ("timed-out", "presumed", 1_000),
        ("worker-died", "presumed", 4_000),
    ]
    assert [call.id for call in report.tool_calls] == ["tool"]
    assert len(report.model_calls) == 5
    assert report.in_flight == 1


def test_sums(ledger: Ledger) -> None:
    report = a_session(ledger)
    assert (report.cost_nanos, report.cost_usd, report.presumed_usd) == (
        6_000,
        Decimal("0.000006"),
        Decimal("0.000005"),
    )
    assert (report.input_tokens, report.output_tokens) == (16_000, 1_000)
    balances = {balance.account: balance for balance in report.balances}
    assert balances[SESSION].spent == 6_000
    assert (balances[SESSION].held, balances[SESSION].presumed) == (50, 5_000)
    assert balances[TENANT].presumed == 5_000 + 1_000  # the other session's call has expired as well
    assert [balance.account.unit for balance in report.balances] == ["usd", "usd", "model_calls"]


def test_a_call_whose_worker_died_is_told_from_what_was_known_when_it_began(ledger: Ledger) -> None:
    died = a_session(ledger).calls[-1]
    assert (died.model_asked, died.model_used, died.node, died.step) == ("gpt-4o", "gpt-4o-mini", "writer", 2)
    assert (died.reserved, died.cost, died.reason) == (4_000, 4_000, "never settled: charged at its worst case")


def test_a_call_settled_without_a_record_is_not_left_out(ledger: Ledger) -> None:
    reserve(ledger, "bare")
    ledger.settle("bare", {"usd": 600}, now=NOW)
    (call,) = spend_report(ledger, "s1", now=NOW).calls
    assert (call.outcome, call.cost, call.reserved, call.reason) == ("settled", 600, 1_000, "settled without a record")


def test_downgrades_refusals_and_landing(ledger: Ledger) -> None:
    report = a_session(ledger)
    assert [call.id for call in report.downgrades] == ["cheaper", "worker-died"]
    assert report.refusals == ("Budget 'session' cannot cover it",)
    assert report.landing == "Landed by the finalizer"


def test_a_landing_is_not_told_of_a_later_run(ledger: Ledger) -> None:
    a_session(ledger)
    holds = [Hold(SESSION, 10**9, 50)]
    ledger.reserve("next", holds, floor=0, ask=0, now=NOW + 200, ttl=60, session="s1", memo={**MEMO, "run": "r2"})
    assert spend_report(ledger, "s1", now=NOW + 200).landing == ""


def test_a_session_that_did_nothing_has_an_empty_report(ledger: Ledger) -> None:
    report = spend_report(ledger, "nobody", now=NOW)
    assert (report.calls, report.balances, report.cost_nanos, report.landing) == ((), (), 0, "")
    assert "Session nobody" in str(report)


def test_json_has_money_as_decimal_strings(ledger: Ledger) -> None:
    report = a_session(ledger)
    body = json.loads(json.dumps(report.to_json()))
    assert {name: body[name] for name in body if name not in ("balances", "calls")} == {
        "session": "s1",
        "cost_usd": "0.000006",
        "presumed_usd": "0.000005",
        "input_tokens": 16_000,
        "output_tokens": 1_000,
        "model_calls": 5,
        "tool_calls": 1,
        "downgrades": 2,
        "in_flight": 1,
        "landing": "Landed by the finalizer",
        "refusals": ["Budget 'session' cannot cover it"],
        "top_ups": [],
    }
    assert body["balances"][1] == {
        "budget": "tenant",
        "scope": {"tenant": "acme"},
        "window": "m:2027-01",
        "unit": "usd",
        "limit": 10**9,
        "credit": 0,
        "spent": 7_000,
        "held": 0,
        "available": 10**9 - 7_000,
        "presumed": 6_000,
    }
    assert [CallRecord.from_json(call) for call in body["calls"]] == list(report.calls)


def row(text: str, *parts: str) -> bool:
    """Whether some line has all these parts, in this order."""
    return any(all(part in line for part in parts) for line in text.splitlines())


def test_the_table_shows_each_call_and_why(ledger: Ledger) -> None:
    text = as_text(a_session(ledger), width=240)
    assert row(text, "1", "plan", "gpt-4o", "same", "8,000", "500", "$0.000001")
    assert row(text, "2", "gpt-4o", "gpt-4o-mini", "pressure 92% on budget 'session'")
    assert "cut off at 500 tokens" in text
    assert "estimated" in text
    assert row(text, "search", "tool")
    assert "released after RateLimit" in text
    assert "presumed after Timeout" in text
    assert "never settled" in text
    assert row(text, "total", "16,000", "1,000", "$0.000006")
    assert row(text, "tenant", "tenant=acme m:2027-01", "$0.000007", "$1.00", "0.0%")
    assert row(text, "100 model calls")
    assert "refused: Budget 'session' cannot cover it" in text
    assert "landing: Landed by the finalizer" in text


def test_the_table_leaves_names_of_tools_as_they_are(ledger: Ledger) -> None:
    reads = Account("session", (("session", "s1"),), "", "tool_calls:read_file")
    ledger.reserve("c1", [Hold(reads, 5, 1)], floor=0, ask=0, now=NOW, ttl=60, session="s1")
    top_up(ledger, [TopUpLine(reads, 2, 5)], id="more", by="ops", session="s1", now=NOW)
    text = as_text(spend_report(ledger, "s1", now=NOW), width=240)
    assert row(text, "7 tool calls of read_file")
    assert row(text, "topped up: 2 tool calls of read_file")


@pytest.mark.parametrize("width", [60, 76, 80])
def test_amounts_are_never_cut_off(ledger: Ledger, width: int) -> None:
    reserve(ledger, "c1")
    used: dict[str, Any] = {
        "model_used": "a-cheaper-model",
        "cost": 102_600,
        "usage": {"input_tokens": 45_311, "output_tokens": 17},
    }
    ended = record("c1", model_asked="openai/gpt-4o", reason="kept on the cheaper tier", **used)
    ledger.settle("c1", {"usd": 102_600}, now=NOW + 1, record=ended)
    (row,) = [
        line for line in as_text(spend_report(ledger, "s1", now=NOW + 2), width).splitlines() if "45,311 " in line
    ][:1]
    assert {"45,311", "17", "$0.000103"} <= set(row.split())


def test_the_text_has_no_terminal_codes_even_on_a_terminal(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in str(a_session(ledger))


@pytest.mark.parametrize("hostile", ["[/bold]", "[red]s[/red]", "\x1b[2J", ":smile:", "two\nlines"])
def test_names_from_outside_are_shown_as_they_are_and_control_nothing(ledger: Ledger, hostile: str) -> None:
    settle(ledger, "a", 5, attribution={"node": hostile}, model_asked=hostile, reason=hostile)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in hostile)
    page = io.StringIO()
    Console(file=page, width=200, force_terminal=False).print(spend_report(ledger, "s1", now=NOW))
    assert page.getvalue().count(shown) == 3
    assert "\x1b" not in page.getvalue()
    empty = str(SpendReport(hostile, (), ()))
    assert f"Session {shown}" in empty


def test_the_first_step_of_a_graph_may_be_zero(ledger: Ledger) -> None:
    settle(ledger, "a", 5, step=0)
    assert row(str(spend_report(ledger, "s1", now=NOW)), " 0 ", "gpt-4o")


def test_accounts_nearest_to_their_limit_come_first(ledger: Ledger) -> None:
    for name, spent in (("low", 10), ("high", 90), ("middle", 50)):
        ledger.reserve(name, [Hold(Account(name), 100, spent)], floor=0, ask=0, now=NOW, ttl=60)
    report = account_report(ledger, now=NOW + 60)  # what is overdue counts as spent
    assert [(balance.account.budget, balance.spent) for balance in report.balances] == [
        ("high", 90),
        ("middle", 50),
        ("low", 10),
    ]
    assert [body["budget"] for body in report.to_json()["balances"]] == ["high", "middle", "low"]
    page = io.StringIO()
    Console(file=page, width=100).print(report)
    assert row(page.getvalue(), "high", "90.0%")


Ending = Callable[[Ledger, str, int], object]
ENDINGS: dict[str, Ending] = {
    "settle": lambda ledger, id, cost: ledger.settle(id, {"usd": cost}, now=NOW, record=record(id, cost=cost)),
    "settle bare": lambda ledger, id, cost: ledger.settle(id, {"usd": cost}, now=NOW),
    "release": lambda ledger, id, cost: ledger.release(id, now=NOW, record=record(id, "released")),
    "presume": lambda ledger, id, cost: ledger.presume(id, now=NOW),
    "expire": lambda ledger, id, cost: ledger.expire(NOW + 100),
    "expire, settle late": lambda ledger, id, cost: (
        ledger.expire(NOW + 100),
        ledger.settle(id, {"usd": cost}, now=NOW + 101, record=record(id, cost=cost)),
    ),
    "stay": lambda ledger, id, cost: None,
}


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(sorted(ENDINGS)), st.integers(0, 5_000), st.integers(0, 5_000)), max_size=12))
def test_sums_are_the_ledgers_after_any_history(calls: list[tuple[str, int, int]]) -> None:
    ledger = MemoryLedger()
    for number, (ending, held, cost) in enumerate(calls):
        reserve(ledger, str(number), held)
        ENDINGS[ending](ledger, str(number), cost)
    report = spend_report(ledger, "s1", now=NOW)
    for balance in report.balances:
        if balance.account.unit == "usd":
            assert balance.spent == report.cost_nanos
            assert balance.presumed == sum(call.cost for call in report.calls if call.outcome == "presumed")
    charged = [entry for entry in ledger.entries("s1") if entry.charged]
    assert len([call for call in report.calls if call.outcome != "released"]) == len(charged)


@pytest.mark.parametrize("now", [NOW + 1, NOW + 100])
def test_a_report_does_without_writing(now: float, tmp_path: Path) -> None:
    """While another program has the file locked, or the disk is full."""
    with closing(SqliteLedger(tmp_path / "spend.db")) as ledger:
        reserve(ledger, "a")
        with closing(sqlite3.connect(tmp_path / "spend.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            report, accounts = spend_report(ledger, "s1", now=now), account_report(ledger, now=now)
        assert report.in_flight == 1
        assert set(report.balances) == set(accounts.balances)
        assert spend_report(ledger, "s1", now=now).in_flight == (1 if now < NOW + 60 else 0)
