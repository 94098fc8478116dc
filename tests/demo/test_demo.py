"""The demonstration shows what it is for, on this repository's own documents, and on others'."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from budgeted_agents.cli.main import cli, main
from budgeted_agents.demo.reading import PAGE, thorough_replies
from budgeted_agents.demo.setting import BUDGET, QUESTION
from budgeted_agents.estimate import count_text
from budgeted_agents.money import to_usd
from budgeted_agents.testing import LocalProvider, Request
from budgeted_agents.testing.conversation import Message, ToolCall
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.records.journal import read_journal

CITATION = re.compile(r"\[[\w/-]+\.md\]")
BEST, CHEAP = "openai/gpt-4o", "openai/gpt-4o-mini"

Shown = dict[str, Any]


def run(*arguments: str) -> str:
    """What the command prints on a terminal of 100 columns."""
    result = CliRunner(env={"COLUMNS": "100"}).invoke(cli, ["demo", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def models(shown: Shown) -> list[str]:
    return [call["model_used"] for call in shown["report"]["calls"] if call["kind"] == "model"]


@pytest.fixture(scope="module")
def shown() -> Shown:
    found: Shown = json.loads(run("--json"))
    return found


class TestLive:
    def test_steps_down_and_lands_in_that_order(self, shown: Shown) -> None:
        told = [kind for kind in shown["live"]["events"] if kind in ("alert", "downgrade", "refusal", "landing")]
        assert told == ["alert", "downgrade", "refusal", "landing"]

    def test_uses_both_models_the_better_one_first(self, shown: Shown) -> None:
        used = models(shown["live"])
        assert used == sorted(used, key=[BEST, CHEAP].index)
        assert min(used.count(BEST), used.count(CHEAP)) >= 3

    def test_lands_on_an_answer_that_cites_its_files(self, shown: Shown) -> None:
        live = shown["live"]
        assert live["report"]["landing"] == "Landed by the graph's own finalizer"
        assert live["report"]["calls"][-1]["attribution"]["node"] == "finalizer"
        assert CITATION.search(live["answer"])
        assert {"budget", "spent", "run", "presumed"} <= set(re.findall(r"\w+", live["answer"]))

    def test_the_bill_is_the_ledgers_and_below_the_budget(self, shown: Shown) -> None:
        spent = Decimal(shown["live"]["report"]["cost_usd"])
        assert Decimal(shown["live"]["bill_usd"]) == spent
        assert Decimal("0.85") * Decimal(BUDGET) < spent <= Decimal(BUDGET)

    def test_its_journal_says_the_same(self, shown: Shown) -> None:
        found = [line.recorded for line in read_journal(shown["live"]["journal"], [])]
        nanos = sum(call.cost for call in found if isinstance(call, CallRecord))
        assert str(to_usd(nanos)) == shown["live"]["bill_usd"]

    def test_no_call_costs_more_than_was_held_for_it(self, shown: Shown) -> None:
        assert "overrun" not in shown["live"]["events"]
        for each in (shown["live"], *shown["compared"]):
            for call in each["report"]["calls"]:
                assert "overrun" not in call.get("flags", [])
                assert call["cost"] <= call.get("reserved", 0)


class TestCompared:
    def test_each_stays_below_its_budget(self, shown: Shown) -> None:
        for each in shown["compared"]:
            assert Decimal(each["report"]["cost_usd"]) <= Decimal(each["budget_usd"])

    def test_the_three_differ(self, shown: Shown) -> None:
        tight, middle, generous = shown["compared"]
        assert [bool(each["report"]["landing"]) for each in (tight, middle, generous)] == [True, True, False]
        assert set(models(tight)) == {CHEAP}
        assert set(models(middle)) == {BEST, CHEAP}
        assert set(models(generous)) == {BEST}
        assert len(models(tight)) < len(models(middle)) < len(models(generous))

    def test_all_answer_with_citations(self, shown: Shown) -> None:
        assert all(CITATION.search(each["answer"]) for each in shown["compared"])


def test_the_show_on_a_terminal(tmp_path: Path) -> None:
    text = run("--journal", str(tmp_path / "journal"))
    lines = text.splitlines()
    assert lines[0] == QUESTION
    order = [
        text.index(part) for part in ("   1 plan      gpt-4o ", "alert: ", "downgrade: ", "landing: ", "─ Answer ")
    ]
    assert order == sorted(order)
    assert "(the same)." in text
    assert "The same question under three budgets" in text
    assert max(map(len, lines[:-1])) <= 100
    assert lines[-1] == f"Replay the first run: budgeted-agents replay {tmp_path / 'journal'}"
    assert list(read_journal(tmp_path / "journal", []))


class TestOtherSettings:
    @pytest.fixture
    def notes(self, tmp_path: Path) -> Path:
        folder = tmp_path / "notes"
        folder.mkdir()
        (folder / "harbor.md").write_text("# Harbor\n\nThe harbor light was painted green in spring.\n")
        return folder

    @pytest.fixture
    def provider(self) -> Iterator[LocalProvider]:
        """Stands in for a real one, or for one on the user's machine."""
        with LocalProvider(thorough_replies(4), count_tokens=count_text) as provider:
            yield provider

    def test_own_documents_and_question(self, notes: Path) -> None:
        found = json.loads(run("--json", "--docs", str(notes), "--question", "When was the harbor light painted?"))
        assert "The harbor light was painted green in spring. [harbor.md]" in found["live"]["answer"]
        assert found["live"]["report"]["landing"] == ""

    def test_own_model_budget_and_ledger(
        self, notes: Path, provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
        ledger = f"sqlite:///{tmp_path}/spend.db"
        asked = ["--docs", str(notes), "--question", "When was the harbor light painted?", "--ledger", ledger]
        text = run(*asked, "--model", "openai/gpt-4.1-nano", "--api-base", provider.base_url, "--budget", "0.01")
        assert "gpt-4.1-nano" in text
        assert "[harbor.md]" in text
        assert {record.request.model for record in provider.requests} == {"gpt-4.1-nano"}
        session = re.search(r"--session (\S+)", text)
        assert session
        assert provider.bill_usd < Decimal("0.01")
        assert run_report(ledger, session[1]) > 0

    def test_a_provider_that_fails_is_told_in_one_line(
        self, notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
        nobody = "http://127.0.0.1:9/v1"
        question = ["--docs", str(notes), "--question", "Is anybody there?"]
        with pytest.raises(SystemExit) as exit:
            main(["demo", *question, "--model", "openai/gpt-4.1-nano", "--api-base", nobody])
        error = capsys.readouterr().err.strip()
        assert exit.value.code == 1
        assert error.startswith("Error: ")
        assert "Traceback" not in error


def run_report(ledger: str, session: str) -> Decimal:
    arguments = ["report", ledger, "--session", session, "--json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    return Decimal(json.loads(result.output)["cost_usd"])


BAD_INPUT = {
    "no such folder": ["--docs", "nowhere", "--question", "What?"],
    "documents without a question": ["--docs", "."],
    "a budget that is no number": ["--budget", "lots"],
    "a budget below zero": ["--budget", "-1"],
    "a budget of nothing": ["--budget", "0"],
    "an empty budget": ["--budget", ""],
    "a place without a model": ["--api-base", "http://127.0.0.1:9"],
    "a ledger that is none": ["--ledger", "spend.db"],
    "a model without a price": ["--model", "openai/gpt-99-unheard-of"],
}


@pytest.mark.parametrize("arguments", BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
    with pytest.raises(SystemExit) as exit:
        main(["demo", *arguments])
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert error.startswith("Error: ")
    assert error.count("\n") == 1


class TestThoroughReader:
    """It reads the best hits first, then what stands before and behind them, and stops in the end."""

    def request(self, *reads: tuple[int, int]) -> Request:
        """A request after reads of ``(line, lines returned)`` of one file that a search found."""
        messages = [Message("user", "Where are the harbor lights?")]
        search = ToolCall("search_documents", {"query": "harbor"}, id="s")
        messages += [Message("assistant", tool_calls=(search,)), Message("tool", "1. a.md:90\nharbor", (), "s")]
        for number, (line, lines) in enumerate(reads):
            call = ToolCall("read_document", {"file": "a.md", "start_line": line}, id=f"r{number}")
            text = f"a.md:{line}\n" + "harbor\n" * lines
            messages += [Message("assistant", tool_calls=(call,)), Message("tool", text, (), f"r{number}")]
        tools = ({"name": "search_documents"}, {"name": "read_document"})
        return Request("/v1/chat/completions", "gpt-4o", tuple(messages), tools)

    def line_after(self, *reads: tuple[int, int], limit: int = 9) -> int | None:
        calls = thorough_replies(limit)(self.request(*reads)).tool_calls
        return int(calls[0].arguments["start_line"]) if calls else None

    def test_begins_with_the_best_hit(self) -> None:
        assert self.line_after() == 80

    def test_then_the_page_before_and_the_page_behind(self) -> None:
        assert self.line_after((100, PAGE)) == 20
        assert self.line_after((100, PAGE), (20, PAGE)) == 180
        assert self.line_after((100, PAGE), (20, PAGE), (180, 7)) == 1

    def test_stops_at_the_end_of_the_file_and_at_its_limit(self) -> None:
        assert self.line_after((1, PAGE - 1)) is None
        assert self.line_after((1, PAGE), limit=1) is None
