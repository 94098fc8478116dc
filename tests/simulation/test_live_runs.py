"""What-if beside the real thing: the research agent runs live under budgets, and what-if tells the same by records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from budgeted_agents import Budget, open_ledger
from budgeted_agents.reports import SpendReport
from budgeted_agents.simulation import SessionWhatIf, what_if
from budgeted_agents.testing import LocalProvider, research_replies
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.usage import Usage
from examples.research_agent import LANDING_RESERVE, TIERS, build_app

# litellm itself warns on import and on use
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

BUDGETS = ("0.10", "0.05", "0.02", "0.001", "0.0005")
"""From ample to scarce: the last of them does not reach for all of the work."""


class Live(NamedTuple):
    """A run of the research agent: what it reports, and the records of its ordinary work, without its landing."""

    report: SpendReport
    work: list[CallRecord]

    @property
    def model_calls(self) -> list[CallRecord]:
        return [record for record in self.work if record.kind == "model"]

    @property
    def first_downgrade(self) -> int | None:
        places = [n for n, record in enumerate(self.model_calls, 1) if record.model_used != record.model_asked]
        return places[0] if places else None


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    for number in range(6):
        text = f"# Refund {number}\n\nA customer returns goods of kind {number} for a refund within {number} days.\n\n"
        (folder / f"refund{number}.md").write_text(text * 60)
    return folder


@pytest.fixture(scope="module")
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(research_replies()) as running:
        yield running


def budget_of(usd: str) -> Budget:
    return Budget(usd=usd, tool_calls=20, landing_reserve=LANDING_RESERVE)


def run(docs: Path, provider: LocalProvider, usd: str, url: str) -> Live:
    thread: Any = {"configurable": {"thread_id": "t1"}}
    app = build_app(docs, budget_of(usd), ledger=url, api_base=provider.base_url, api_key="sk-local")
    app.invoke({"question": "How many days does a customer have to return goods for a refund?"}, thread)
    records = [CallRecord.from_json(entry.record) for entry in open_ledger(url).entries("t1")]
    report = app.spend(thread)
    return Live(report, records[:-1] if report.landing else records)  # the finalizer's call comes last


@pytest.fixture(scope="module")
def live(docs: Path, provider: LocalProvider, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Live]:
    """A run under each budget."""
    ledgers = tmp_path_factory.mktemp("ledgers")
    return {usd: run(docs, provider, usd, f"sqlite:///{ledgers / usd}.db") for usd in BUDGETS}


@pytest.fixture(scope="module")
def ample(docs: Path, provider: LocalProvider) -> Live:
    """The same work under a budget that is never reached."""
    return run(docs, provider, "10", "memory://ample")


def traced(record: CallRecord) -> TracedCall:
    """A record as a call of a trace."""
    return TracedCall(
        id=record.id,
        session=record.session,
        kind=record.kind,
        model=record.model_used,
        model_asked=record.model_asked,
        usage=Usage(input=record.input_tokens, output=record.output_tokens),
        started_at=record.started_at,
        ended_at=record.ended_at,
        node=record.node,
        tool=record.tool,
        attribution={"run": record.run},
    )


def told_by(work: list[CallRecord], usd: str) -> SessionWhatIf:
    (policy,) = what_if(map(traced, work), budget_of(usd), models=TIERS).policies
    (session,) = policy.sessions
    return session


@pytest.mark.parametrize("usd", BUDGETS)
def test_a_run_replayed_under_its_own_policy_decides_as_it_did(live: dict[str, Live], usd: str) -> None:
    actual = live[usd]
    found = told_by(actual.work, usd).outcome
    assert found.cost_after == sum(record.cost for record in actual.work)
    assert (found.stepped_down.call if found.stepped_down else None) == actual.first_downgrade
    assert found.downgraded == sum(record.model_used != record.model_asked for record in actual.model_calls)
    assert (found.calls, found.calls_cut, found.tool_calls_cut) == (len(actual.model_calls), 0, 0)


@pytest.mark.parametrize("usd", BUDGETS)
def test_what_if_foretells_a_run_from_one_that_had_money_enough(live: dict[str, Live], ample: Live, usd: str) -> None:
    actual, session = live[usd], told_by(ample.work, usd)
    found = session.outcome
    assert session.ending == ("landed" if actual.report.landing else "")
    assert found.calls - found.calls_cut == len(actual.model_calls)
    assert (found.stepped_down.call if found.stepped_down else None) == actual.first_downgrade
    assert found.cost_after == sum(record.cost for record in actual.work)


def test_these_runs_show_every_rung(live: dict[str, Live]) -> None:
    assert [found.first_downgrade is not None for found in live.values()] == [False, False, True, True, True]
    assert [bool(found.report.landing) for found in live.values()] == [False, False, False, False, True]
