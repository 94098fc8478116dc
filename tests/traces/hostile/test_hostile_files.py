"""Whatever a file holds: no foreign error, a problem that names the place, and the rest of the input is audited."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from budgeted_agents.prices import DatedPrices
from budgeted_agents.traces.audit.scan import scan
from tests.traces.formats.otlp_lines import chat, line, write
from tests.traces.hostile.cases import CASES, Case

SECONDS = 2.0


@pytest.fixture(scope="module")
def prices() -> DatedPrices:
    return DatedPrices.load()


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_costs_only_itself(name: str, prices: DatedPrices, tmp_path: Path) -> None:
    case: Case = CASES[name]
    hostile = write(tmp_path / case.name, case.content)
    behind = write(tmp_path / "behind.jsonl", line(chat("f" * 16)))
    start = time.process_time()
    result = scan([hostile, behind], prices=lambda: prices)
    assert time.process_time() - start < SECONDS
    ours = [file for file in result.files if file.path.startswith(str(hostile))]
    assert result.files[-1].calls == 1
    problems = [problem for file in ours for problem in file.problems.kept]
    calls = sum(file.calls for file in ours)
    assert all(problem.place.startswith(str(hostile)) for problem in problems)
    assert case.calls in (None, calls), problems
    assert bool(problems) or not case.is_told
