"""``budgeted-agents replay``: what it prints, writes and exits with."""

from __future__ import annotations

import csv
import json
import sys
from functools import partial
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from budgeted_agents.cli import main
from budgeted_agents.cli.replay import command
from budgeted_agents.traces.audit.audit import DIMENSIONS
from budgeted_agents.traces.audit.verdicts import VERDICTS
from tests.cli.conftest import Command


def test_every_grouping_and_verdict_can_be_asked_for() -> None:
    """The best verdict is none to fail on."""
    choices = {each.name: tuple(each.type.choices) for each in command.params if isinstance(each.type, click.Choice)}
    assert choices == {"by": ("session", *DIMENSIONS), "fail_on": tuple(reversed(VERDICTS))[:-1]}


@pytest.fixture
def run(run: Command) -> Command:
    """Run this command here: exit code, standard output, standard error."""
    return partial(run, "replay")


def line(id: str, session: str = "s1", **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "session": session,
        "model": "gpt-4o",
        "input_tokens": 1000,
        "output_tokens": 100,
        "started_at": "2026-02-09T19:07:30Z",
        **fields,
    }


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A folder: one exact call, one wrong one, one without a price, one written twice, and a file of no format."""
    folder = tmp_path / "traces"
    folder.mkdir()
    write(folder / "a.jsonl", line("1", cost_usd="0.0035"), line("2", "s2", cost_usd="0.0071", tenant="acme"))
    write(folder / "b.jsonl", line("1", cost_usd="0.0035"), line("3", "s3", model="no-such-model"))
    (folder / "notes.bin").write_bytes(bytes(range(256)))
    return folder


def test_the_table(run: Command, traces: Path) -> None:
    code, out, _ = run(traces)
    assert code == 0
    for text in ("$0.007000", "$0.0106", "3 calls", "mismatch", "no-such-model", "notes.bin", "By model"):
        assert text in out


def test_nothing_is_said_beside_the_answer_where_nothing_is_amiss(run: Command, tmp_path: Path) -> None:
    code, _, err = run(write(tmp_path / "a.jsonl", line("1", cost_usd="0.0035")), "--json")
    assert (code, err) == (0, "")


def test_json(run: Command, traces: Path) -> None:
    body = json.loads(run(traces, "--json")[1])
    assert body["totals"]["cost_usd"] == "0.007"
    assert body["verdicts"] == {"exact": 1, "unpriced": 1, "mismatch": 1}
    assert {session["session_id"]: session["cost_usd"] for session in body["sessions"]} == {
        "s1": "0.0035",
        "s2": "0.0035",
        "s3": None,
    }
    assert [(Path(file["path"]).name, file["format"], file["calls"]) for file in body["files"]] == [
        ("a.jsonl", "neutral", 2),
        ("b.jsonl", "neutral", 1),
        ("notes.bin", None, 0),
    ]


@pytest.mark.parametrize("by", ["session", "model", "node", "tool", "tenant", "feature", "day"])
def test_csv_and_table_by_every_dimension(run: Command, traces: Path, by: str) -> None:
    code, out, err = run(traces, "--by", by, "--csv")
    rows = list(csv.DictReader(StringIO(out)))
    assert (code, len(rows)) == (0, {"session": 3, "model": 2, "tenant": 2, "tool": 0}.get(by, 1))
    assert err.count("Warning: ") == 2
    assert run(traces, "--by", by)[0] == 0


def test_the_page_and_the_calls_are_written(run: Command, traces: Path, tmp_path: Path) -> None:
    page, calls = tmp_path / "spend.html", tmp_path / "calls.parquet"
    code, _, err = run(traces, "--html", page, "--parquet", calls, "--json")
    assert code == 0
    assert str(page) in err
    assert page.read_text().startswith("<!doctype html>")
    with duckdb.connect() as engine:
        assert engine.execute(f"SELECT count(*) FROM '{calls}'").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("verdict", "code"), [("mismatch", 1), ("unpriced", 1), ("constant_ratio", 0), ("rounding", 0)]
)
def test_a_gate(run: Command, traces: Path, verdict: str, code: int) -> None:
    assert run(traces, "--json", "--fail-on", verdict)[0] == code
    assert run(traces / "a.jsonl", "--json", "--fail-on", "constant_ratio", "--fail-on", verdict)[0] == int(
        verdict == "mismatch"
    )


def test_own_prices_and_a_day_for_all(run: Command, traces: Path, tmp_path: Path) -> None:
    price = {"input_cost_per_token": 0.000001, "output_cost_per_token": 0}
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"2025-01-01": {"no-such-model": price}}))
    body = json.loads(run(traces, "--json", "--prices", prices)[1])
    assert body["totals"]["unpriced_calls"] == 0
    assert body["prices"] == ["litellm " + body["prices"][0].split()[1], "prices.json: 2025-01-01"]
    o3 = write(tmp_path / "o3.jsonl", line("1", model="o3"))
    old, new = (json.loads(run(o3, "--json", "--as-of", day)[1])["totals"] for day in ("2025-05-01", "today"))
    assert (old["cost_usd"], new["cost_usd"]) == ("0.014", "0.0028")


def test_a_forced_format(run: Command, tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.log", {"id": "1", "session": "s"})
    code, out, _ = run(odd, "--format", "neutral", "--json")
    assert (code, json.loads(out)["verdicts"]) == (0, {"unpriced": 1})


def test_a_format_forced_wrongly_is_told(run: Command, tmp_path: Path) -> None:
    code, out, _ = run(write(tmp_path / "calls.jsonl", line("1")), "--format", "langsmith", "--json")
    (warning,) = json.loads(out)["warnings"]
    assert (code, warning) == (0, "No call was found in 1 file, read as langsmith: is that what they are?")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("arguments", [[], ["--csv", "--by", "session"]], ids=["table", "csv"])
def test_an_output_that_has_few_characters_gets_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, arguments: list[str]
) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(write(tmp_path / "calls.jsonl", line("1", session="会話"))), *arguments])
    sys.stdout.flush()
    assert not ended.value.code
    assert b"gpt-4o" in written.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/folder"], "no such file or folder"),
        (["traces/notes.bin"], "no file could be read"),
        (["traces", "--format", "nonesuch"], "no such format"),
        (["traces", "--prices", "missing.json"], "cannot be read"),
        (["traces", "--as-of", "yesterday"], "is no day"),
        (["traces", "--html", "no/such/page.html"], "cannot be written"),
        (["traces", "--parquet", "no/such/calls.parquet"], "cannot be written"),
        (["traces", "--json", "--csv"], "exclude each other"),
        ([], "Missing argument"),
    ],
)
def test_bad_input(
    run: Command, traces: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(traces.parent)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) <= 4
