"""The research agent's example: its own command line, over real HTTP, with budgets from ample to scarce."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents import Budget
from budgeted_agents.testing import LocalProvider, research_replies
from examples.research_agent import LANDING_RESERVE, build_app, main

# litellm itself warns on import and on use
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

QUESTION = "How many days does a customer have to return goods for a refund?"
THREAD: Any = {"configurable": {"thread_id": "t1"}}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for number in range(6):
        text = f"# Chapter {number}\n\nGoods of kind {number} are returned to desk {number} by the customer.\n"
        (tmp_path / f"chapter{number}.md").write_text(text * 60)
    (tmp_path / "refunds.md").write_text("# Refunds\n\nA customer has 30 days to return goods for a full refund.\n")
    return tmp_path


@pytest.mark.parametrize(("usd", "ending"), [("0.50", "best model"), ("0.02", "cheaper model"), ("0.0009", "landed")])
def test_the_cap_holds_and_there_is_an_answer(docs: Path, usd: str, ending: str) -> None:
    budget = Budget(usd=usd, landing_reserve=LANDING_RESERVE)
    with LocalProvider(research_replies()) as provider:
        app = build_app(docs, budget, ledger="memory://", api_base=provider.base_url, api_key="sk-local")
        state = app.invoke({"question": QUESTION}, THREAD)
        report = app.spend(THREAD)
        assert {record.status for record in provider.requests} == {200}
        assert report.cost_usd == provider.bill_usd <= Decimal(usd)
    assert state["answer"]
    assert how_it_ended(report) == ending


def how_it_ended(report: Any) -> str:
    if report.landing:
        return "landed"
    return "cheaper model" if report.downgrades else "best model"


def test_the_command_line_answers_and_says_what_it_cost(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([QUESTION, "--docs", str(docs), "--usd", "0.50", "--local", "--ledger", f"sqlite:///{docs / 'spend.db'}"])
    output = capsys.readouterr().out
    assert "30 days to return goods for a full refund. [refunds.md]" in output
    assert re.search(r"6 model calls, 5 tool calls, \$0\.0\d+", output)
