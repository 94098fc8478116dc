"""``budgeted-agents ledger verify | rebuild | forget``, on a real ledger and its journal."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.ledgers import Account, Hold, open_ledger
from budgeted_agents.ledgers.urls import place_of
from budgeted_agents.meter.recording import recorders_of
from tests.cli.conftest import Command
from tests.meter.support import Rig
from tests.traces.records.test_spans import BOOKKEEPING


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with three calls, and its journal."""
    return used(f"sqlite:///{tmp_path / 'spend.db'}")


def used(url: str) -> str:
    """The URL of a ledger, in which three calls are booked now."""
    rig = Rig(open_ledger(url), [Budget(usd="1.00", tokens=100_000)])
    rig.meter.recorders = recorders_of(url, None, ())
    for tokens in (1_000, 2_000, 3_000):
        rig.spend(rig.admit(), tokens=tokens, output=100)
    rig.ledger.close()
    return url


def lose(url: str) -> None:
    for file in Path(place_of(url)[10:]).parent.glob("spend.db*"):
        if file.is_file():
            file.unlink()


def test_verify_says_that_they_agree(run: Command, url: str) -> None:
    code, out, _ = run("ledger", "verify", url)
    assert code == 0
    assert "Ledger and journal agree: 3 agree" in out
    assert out.count("0.018") == 2  # by the ledger, by the journal


def test_a_ledger_that_is_lost_is_rebuilt_and_rebuilding_again_changes_nothing(run: Command, url: str) -> None:
    before = json.loads(run("ledger", "verify", url, "--json")[1])
    lose(url)
    for restored in (3, 0):
        code, out, _ = run("ledger", "rebuild", url, "--json")
        assert (code, json.loads(out)) == (0, {**before, "restored": restored})


def test_a_top_up_is_written_down_and_comes_back(run: Command, url: str) -> None:
    more = ["--budget", "session", "--scope", "session=s1", "--usd", "0.50", "--by", "ada", "--id", "up-1"]
    for _ in range(2):
        assert run("budget", "top-up", url, *more)[0] == 0
    before = json.loads(run("budget", "show", url, "--json")[1])
    assert run("ledger", "verify", url)[0] == 0
    lose(url)
    assert run("ledger", "rebuild", url)[0] == 0
    assert json.loads(run("budget", "show", url, "--json")[1])["balances"] == before["balances"]


def test_a_journal_that_the_url_names(run: Command, tmp_path: Path) -> None:
    url = used(f"sqlite:///{tmp_path / 'spend.db'}?journal={tmp_path / 'elsewhere'}")
    more = ["--budget", "session", "--scope", "session=s1", "--usd", "0.50", "--by", "ada"]
    assert run("budget", "top-up", url, *more)[0] == 0
    before = json.loads(run("ledger", "verify", url, "--json")[1])
    assert before["agrees"]
    lose(url)
    code, out, _ = run("ledger", "rebuild", url, "--json")
    assert (code, json.loads(out)) == (0, {**before, "restored": 4})
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_dir()) == ["elsewhere"]


def test_what_differs_is_named_and_leaves_with_1(run: Command, url: str, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    open_ledger(other).close()
    code, out, _ = run("ledger", "verify", other, "--journal", f"{url[10:]}.journal")
    assert code == 1
    assert out.count("missing: ") == 3
    told = json.loads(run("ledger", "verify", other, "--journal", f"{url[10:]}.journal", "--json")[1])
    assert [each["kind"] for each in told["differences"]] == ["missing"] * 3
    assert not told["agrees"]


def test_a_damaged_line_is_told_and_the_rest_is_used(run: Command, url: str) -> None:
    (file,) = Path(f"{url[10:]}.journal").glob("*.jsonl")
    file.write_bytes(b"{broken\n" + file.read_bytes())
    told = json.loads(run("ledger", "verify", url, "--json")[1])
    assert told["matching"] == 3
    (problem,) = told["problems"]
    assert problem.startswith(f"{file}:1: ")


def test_what_a_collector_keeps_is_no_journal_and_changes_nothing(run: Command, url: str, tmp_path: Path) -> None:
    """It has all the calls, and without the bookkeeping, which only the journal writes, they would cost nothing."""
    exported = tmp_path / "collector.jsonl"
    (file,) = Path(f"{url[10:]}.journal").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    for line in lines:
        for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            span["attributes"] = [pair for pair in span["attributes"] if not pair["key"].startswith(BOOKKEEPING)]
    exported.write_text("".join(json.dumps(line) + "\n" for line in lines))
    other = f"sqlite:///{tmp_path / 'other.db'}"
    code, out, err = run("ledger", "rebuild", other, "--journal", exported)
    assert (code, out) == (2, "")
    assert "its calls lack their bookkeeping" in err
    assert not (tmp_path / "other.db").exists()
    assert run("ledger", "verify", url, "--journal", exported)[0] == 2
    both = tmp_path / "both.jsonl"
    both.write_bytes(exported.read_bytes() + file.read_bytes())
    told = json.loads(run("ledger", "rebuild", other, "--journal", both, "--json")[1])
    assert (told["restored"], len(told["problems"])) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "sqlite:///nowhere.db"], "is not there"),
        (["rebuild", "sqlite:///nowhere.db"], "is no journal"),
        (["rebuild", "memory://"], "--journal"),
        (["rebuild", "sqlite:///nowhere.db?journal=off"], "--journal"),
        (["verify", "sqlite:///nowhere.db?mode=ro"], "?journal="),
    ],
)
def test_what_is_not_there_leaves_with_2(
    run: Command, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("ledger", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not list(tmp_path.iterdir())


def test_what_a_ledger_forgets_is_told_by_its_journal_and_not_booked_again(run: Command, url: str) -> None:
    before = json.loads(run("ledger", "verify", url, "--json")[1])
    book = open_ledger(url)
    last = max(entry.closed_at or 0.0 for entry in book.entries())
    assert book.forget(last + 1, limit=2) == 2
    book.close()
    for command, restored in (("verify", 0), ("rebuild", 0)):
        code, out, _ = run("ledger", command, url, "--json")
        told = {**before, "matching": 1, "forgotten": 2, "restored": restored}
        assert (code, json.loads(out)) == (0, told)
    assert "2 forgotten by the ledger" in run("ledger", "verify", url)[1]


def test_the_command_forgets_what_is_older_than_asked(run: Command, tmp_path: Path) -> None:
    url, now = f"sqlite:///{tmp_path / 'spend.db'}", time.time()
    book = open_ledger(url)
    for id, days in (("old", 40), ("older", 400), ("recent", 10)):
        book.reserve(id, [Hold(Account("session"), 100, 5)], floor=0, ask=0, now=now - days * 86_400, ttl=60)
        book.settle(id, {"usd": 5}, now=now - days * 86_400)
    book.close()
    assert (
        run("ledger", "forget", url, "--older-than", "30")[1]
        == "2 calls that ended more than 30 days ago are forgotten.\n"
    )
    assert json.loads(run("ledger", "forget", url, "--older-than", "30", "--json")[1])["forgotten"] == 0
    book = open_ledger(url)
    assert [entry.id for entry in book.entries()] == ["recent"]
    assert book.balances([Account("session")])[0].spent == 15
    book.close()


@pytest.mark.parametrize("days", ["0", "-3", "soon"])
def test_a_time_that_is_none_is_refused(run: Command, url: str, days: str) -> None:
    code, _, error = run("ledger", "forget", url, "--older-than", days)
    assert code == 2
    assert "--older-than" in error


def test_all_old_notes_go_however_few_calls_there_are(run: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    book, now = open_ledger(url), time.time()
    for number in range(1_200):
        book.note("s1", {"number": number}, now=1_000_000 + number)
    book.note("s1", {"number": "recent"}, now=now)
    book.close()
    assert run("ledger", "forget", url, "--older-than", "30")[0] == 0
    book = open_ledger(url)
    assert [note.body["number"] for note in book.notes()] == ["recent"]
    book.close()
