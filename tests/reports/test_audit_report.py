"""The report of an audit: its JSON, rows, table and CSV."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import polars
import pytest
from rich.console import Console

from budgeted_agents import replay
from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import PriceBook, PricesLike
from budgeted_agents.reports.audit import AuditReport, audit_report
from budgeted_agents.reports.audit.table import AuditTable
from budgeted_agents.reports.csv_rows import write_rows
from budgeted_agents.reports.replay import export
from budgeted_agents.traces.audit.audit import DIMENSIONS, Audit
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.usage import Usage
from tests.reports.audits import HOSTILE, PRICES, ROWS, mixed_report, model_call, report_of

GROUPINGS = ("session", *DIMENSIONS)


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return mixed_report()


@pytest.fixture(scope="module")
def body(report: AuditReport) -> Any:
    return json.loads(json.dumps(report.to_json(), allow_nan=False))


def session(body: Any, name: str) -> Any:
    return next(found for found in body["sessions"] if found["session_id"] == name)


def printed(report: AuditReport, by: str = "model", width: int = 200) -> str:
    page = StringIO()
    Console(file=page, width=width, color_system=None, force_terminal=False).print(AuditTable(report, by))
    return page.getvalue()


def test_a_session_in_json(body: Any) -> None:
    found = session(body, "right")
    assert {name: found[name] for name in list(found)[:14]} == {
        "session_id": "right",
        "calls": 3,
        "models": ["small"],
        "input_tokens": 3000,
        "cached_input_tokens": 1200,
        "output_tokens": 300,
        "cost_usd": "0.0045",
        "recorded_cost_usd": "0.0045",
        "unpriced_calls": 0,
        "failed_calls": 0,
        "failed_cost_usd": "0",
        "verdict": "exact",
        "flags": [],
        "difference_usd": "0",
    }


def test_what_nobody_knows_is_null_and_not_zero(body: Any) -> None:
    assert session(body, "silent")["recorded_cost_usd"] is None
    assert session(body, HOSTILE)["cost_usd"] is None
    assert session(body, HOSTILE)["verdict"] == "unpriced"
    assert session(body, "stated")["flags"] == ["session_only"]


def test_totals_are_the_sessions_added_up(body: Any) -> None:
    for name in ("cost_usd", "recorded_cost_usd"):
        assert Decimal(body["totals"][name]) == sum(Decimal(found[name] or 0) for found in body["sessions"])
    for name in ("calls", "input_tokens", "cached_input_tokens", "output_tokens"):
        assert body["totals"][name] == sum(found[name] for found in body["sessions"])
    assert body["totals"]["sessions"] == len(body["sessions"]) == 5


def test_groupings_add_up_to_the_totals(body: Any) -> None:
    for dimension in ("model", "node", "tenant", "feature", "day"):
        group = body["groups"][dimension]
        assert sum(found["calls"] for found in group) == body["totals"]["calls"]
        assert sum(Decimal(found["cost_usd"] or 0) for found in group) == Decimal(body["totals"]["cost_usd"])


def test_every_call_has_a_verdict(body: Any) -> None:
    assert body["verdicts"] == {"exact": 3, "recorded_missing": 10, "unpriced": 1, "mismatch": 1}
    assert sum(body["verdicts"].values()) == body["totals"]["calls"]
    assert sum(body["session_verdicts"].values()) == len(body["sessions"])


def test_files_and_warnings(body: Any) -> None:
    assert body["files"] == [
        {"path": "a.jsonl", "format": "otlp", "calls": 8, "skipped": 2, "problems": ["a.jsonl:7: is cut off"]},
        {"path": "b.bin", "format": None, "calls": 0, "skipped": 0, "problems": []},
    ]
    assert body["warnings"][1:] == [
        "1 file could not be read: b.bin.",
        "2 records in 1 file could not be read: a.jsonl:7: is cut off.",
    ]


def test_signals(body: Any) -> None:
    assert body["signals"] == {
        "cost_per_success_usd": "0.004500000",
        "tokens_per_turn": 1650.0,
        "tool_calls_per_session": 0.4,
        "downgrade_share": 0.0,
        "cache_hit_rate": round(2400 / 15000, 6),
        "premium_share": round(0.015 / (4 * 0.0015 + 0.015 + 0.009), 6),
        "repeated_tool_calls": 1,
        "loop_cost_usd": "0.0015",
        "failed_cost_usd": "0",
        "unsuccessful_cost_usd": "0",
    }


def test_the_dearest_session_comes_first(report: AuditReport) -> None:
    assert [found.session_id for found in report.sessions][:3] == ["silent", "stated", "right"]


def test_a_report_changes_nothing() -> None:
    audit = Audit(PRICES)
    audit.add(TracedCall(id="1", session="s", kind="statement", model="small", usage=Usage(input=10)))
    assert audit_report(audit) == audit_report(audit)


def test_nothing_at_all() -> None:
    empty = report_of([])
    assert empty.to_json()["totals"]["cost_usd"] is None
    assert "0 sessions" in printed(empty)


@pytest.mark.parametrize("by", GROUPINGS)
def test_rows_make_a_data_frame(report: AuditReport, by: str) -> None:
    frame = polars.DataFrame(report.rows(by))
    assert frame.height == len(report.rows(by)) > 0
    assert "cost_usd" in frame.columns


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_table_shows_no_name_as_markup(report: AuditReport, by: str) -> None:
    text = printed(report, by)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "$0.0045" in text
    assert "mismatch" in text


def test_a_narrow_terminal(report: AuditReport) -> None:
    assert max(map(len, printed(report, width=60).splitlines())) <= 60


def test_amounts_are_never_cut_off(report: AuditReport) -> None:
    """Names are, and where there is little room the models are left out."""
    for width in (60, 74, 80, 130):
        whole, narrow = printed(report), printed(report, width=width)
        amounts = {word for word in whole.split() if word.startswith(("$", "-$"))}
        assert amounts <= set(narrow.split())
        assert "█…" not in narrow


@pytest.mark.parametrize("by", GROUPINGS)
def test_csv_reads_back_and_has_no_formula(report: AuditReport, by: str) -> None:
    file = StringIO(newline="")
    write_rows(report.rows(by), file)
    rows = list(csv.DictReader(StringIO(file.getvalue(), newline="")))
    assert len(rows) == len(report.rows(by))
    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) == sum(row["cost_usd"] or 0 for row in report.rows(by))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1"])
def test_a_name_is_no_formula(name: str) -> None:
    file = StringIO(newline="")
    write_rows(report_of([model_call(1, name)]).rows("session"), file)
    assert not file.getvalue().splitlines()[1].startswith(("=", "+", "-", "@", "\t"))


def test_prices_are_a_book_dated_or_a_file(tmp_path: Path) -> None:
    traces, file = tmp_path / "calls.jsonl", tmp_path / "prices.json"
    traces.write_text(json.dumps({"id": "1", "session": "s", "model": "small", "input_tokens": 1000}))
    file.write_text(json.dumps(ROWS))
    given: list[PricesLike] = [PriceBook(ROWS), PRICES, file, str(file)]
    costs = [replay(traces, prices=prices).totals.cost_usd for prices in given]
    assert costs == [Decimal("0.001")] * 4
    assert [export(traces, tmp_path / "calls.parquet", prices=prices) for prices in given] == [1] * 4


def test_no_number_of_processes_is_refused() -> None:
    with pytest.raises(InvalidTrace, match="workers=-1: is no number of processes"):
        replay(__file__, workers=-1)
