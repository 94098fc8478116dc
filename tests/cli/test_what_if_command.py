"""``budgeted-agents what-if``: what it prints and exits with."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command


@pytest.fixture
def run(run: Command) -> Command:
    """Run this command here: exit code, standard output, standard error."""
    return partial(run, "what-if")


def line(number: int, session: str, **fields: Any) -> dict[str, Any]:
    """A call of $0.0275 at the list price of gpt-4o."""
    started = f"2026-02-09T19:{number:02}:30Z"
    known = {"id": f"{session}/{number}", "session": session, "model": "gpt-4o", "started_at": started}
    return {**known, "input_tokens": 10_000, "output_tokens": 250, **fields}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """Session ``long`` of ten calls, the last ones first, ``short`` of one, and ``=sum`` of which a sum is known."""
    rows = [line(number, "long") for number in reversed(range(10))]
    rows += [line(3, "short"), {"id": "x", "session": "=sum", "kind": "statement", "calls": 4, "cost_usd": "0.9"}]
    file = tmp_path / "calls.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_policies_side_by_side(run: Command, traces: Path, tmp_path: Path) -> None:
    file = tmp_path / "strict.toml"
    file.write_text('[[budgets]]\nmodel_calls = 4\non_exhausted = "suspend"\n')
    code, out, _ = run(traces, "--budget", "usd=5", "--budget", "name=tight,usd=0.10", "--policy", file, "--json")
    assert code == 0
    ample, tight, strict = json.loads(out)["policies"]
    assert [found["policy"] for found in (ample, tight, strict)] == ["usd=5", "tight", "strict"]
    assert ample["totals"]["saved_usd"] == "0"
    assert ample["totals"]["cost_usd"] == "1.2025"
    assert (tight["sessions_landed"], strict["sessions_suspended"]) == (2, 1)
    assert Decimal(tight["totals"]["cost_after_usd"]) <= Decimal("0.20") + Decimal("0.0275")
    first = strict["first_end"]
    assert (first["session_id"], first["call"], first["model"]) == ("long", 5, "gpt-4o")
    assert strict["totals"]["calls_cut"] == 6
    assert strict["totals"]["share_cut"] == pytest.approx(6 * 0.0275 / 1.2025, abs=1e-6)


def test_a_session_of_which_a_sum_is_known_is_answered_as_a_whole(run: Command, traces: Path) -> None:
    _, out, _ = run(traces, "--budget", "usd=0.50", "--json")
    body = json.loads(out)
    found = {session["session_id"]: session for session in body["policies"][0]["sessions"]}["=sum"]
    assert (found["ending"], found["flags"], found["ended"]["call"]) == ("landed", ["session_only"], None)
    assert found["saved_usd"] == "0.4"
    assert "the traces give sums only" in body["warnings"][0]


def test_models_step_down(run: Command, traces: Path) -> None:
    _, out, _ = run(traces, "--budget", "usd=0.20", "--models", "gpt-4o, gpt-4o-mini", "--json")
    (policy,) = json.loads(out)["policies"]
    assert policy["sessions_downgraded"] == 1
    assert policy["first_downgrade"]["session_id"] == "long"
    assert policy["totals"]["calls_cut"] == 0


def test_the_table_is_for_people(run: Command, traces: Path) -> None:
    code, out, err = run(traces, "--budget", "usd=0.10", "--budget", "usd=5")
    assert (code, err) == (0, "")
    assert "usd=0.10: sessions changed" in out
    assert "landed at call" in out
    assert "usd=5: sessions changed" not in out
    assert "share of work cut" in out


def test_csv_has_a_row_for_each_policy_and_session(run: Command, traces: Path) -> None:
    _, out, _ = run(traces, "--budget", "usd=0.10", "--budget", "usd=5", "--csv")
    rows = list(csv.DictReader(StringIO(out)))
    assert {(row["policy"], row["session_id"]) for row in rows} == {
        (policy, session) for policy in ("usd=0.10", "usd=5") for session in ("long", "short", "'=sum")
    }
    assert {row["saved_usd"] for row in rows if row["policy"] == "usd=5"} == {"0"}


@pytest.mark.parametrize(
    ("gate", "code", "said"),
    [
        (("--fail-over", "2"), 0, ""),
        (("--fail-over", "1"), 1, "usd=0.10: 2 sessions would have been refused, more than 1\n"),
        (("--max-cost", "1"), 0, ""),
        (("--max-cost", "0.15"), 1, "usd=0.10: $0.2100 would have been spent, more than $0.1500\n"),
    ],
)
def test_a_gate(run: Command, traces: Path, gate: tuple[str, ...], code: int, said: str) -> None:
    ended, _, err = run(traces, "--budget", "usd=0.10", *gate, "--csv")
    warnings = [line for line in err.splitlines(keepends=True) if line.startswith("Warning: ")]
    assert (ended, err) == (code, "".join(warnings) + said)


def test_windows_over_sessions_without_a_time_are_warned_of(run: Command, traces: Path) -> None:
    (in_a_run,) = json.loads(run(traces, "--budget", "usd=5", "--json")[1])["warnings"]
    assert "sums only" in in_a_run
    _, in_a_day = json.loads(run(traces, "--budget", "usd=5,window=day", "--json")[1])["warnings"]
    assert in_a_day.startswith("Of 1 session the traces do not tell when they were")


def test_what_could_not_be_read_is_told(run: Command, traces: Path) -> None:
    (traces.parent / "notes.txt").write_text("nothing")
    with traces.open("a") as file:
        file.write('{"id": "cut')
    _, out, _ = run(traces.parent, "--budget", "usd=5", "--json")
    _, unread, partly = json.loads(out)["warnings"]
    assert unread.startswith("1 file could not be read")
    assert "notes.txt" in unread
    assert partly.startswith("1 record in 1 file could not be read")
    assert "calls.jsonl:13" in partly
    code, out, err = run(traces.parent, "--budget", "usd=5", "--csv")
    assert (code, out.count("\n"), err.count("Warning: ")) == (0, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--budget", "usd=lots"), "usd='lots': is not a number"),
        (("--budget", "usd=1,tool_calls"), "is no field with a value"),
        ((), "Give at least one policy"),
        (("--budget", "usd=1", "--json", "--csv"), "exclude each other"),
        (("--budget", "usd=1", "--budget", "usd=1"), "Two policies are named 'usd=1'"),
        (("--budget", "usd=1", "--models", "gpt-4o-mimi"), "Nearest known names"),
        (("--budget", "usd=1", "--max-cost", "lots"), "max_cost='lots': is not a number"),
        (("--budget", "usd=1", "--as-of", "yesterday"), "as_of='yesterday': is no day"),
        (("--budget", "usd=1", "--format", "carbon"), "carbon"),
        (("--policy", "nowhere.toml"), "cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    run: Command, traces: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = run(traces, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_nothing_to_read_is_an_error(run: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    code, _, err = run(tmp_path, "--budget", "usd=1")
    assert code == 2
    assert "holds no call that can be read" in err
