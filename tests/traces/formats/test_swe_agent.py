"""SWE-agent trajectories."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.call import CACHE_NOT_RECORDED, ESTIMATED
from budgeted_agents.traces.formats.swe_agent import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import SWE_AGENT
from tests.traces.formats.support import imported, written


def test_a_run_is_a_statement_with_estimated_tokens(tmp_path: Path) -> None:
    told = imported(FORMAT, written(tmp_path, "repo-i1.traj", SWE_AGENT)).statement
    assert (told.model, told.usage) == ("gpt-4o", Usage(7141, output=243))
    assert (told.recorded_cost, told.calls, told.turns, told.succeeded) == (Decimal("0.02"), 5, 1, True)
    assert told.flags == (ESTIMATED, CACHE_NOT_RECORDED)
    assert told.session.startswith("repo-i1#")


def test_actions_are_tool_calls(tmp_path: Path) -> None:
    found = imported(FORMAT, written(tmp_path, "repo-i1.traj", SWE_AGENT))
    assert [call.tool for call in found.of("tool")] == ["find_file", "submit"]


@pytest.mark.parametrize(
    ("status", "succeeded", "error"),
    [("submitted (exit_cost)", False, ""), ("exit_context", False, "exit_context"), (None, None, "")],
)
def test_only_a_run_that_submitted_by_itself_succeeded(
    tmp_path: Path, status: str | None, succeeded: bool | None, error: str
) -> None:
    info: Any = {**SWE_AGENT["info"], "exit_status": status}
    told = imported(FORMAT, written(tmp_path, "repo-i1.traj", {**SWE_AGENT, "info": info})).statement
    assert (told.succeeded, told.error) == (succeeded, error)


def test_an_old_run_is_named_after_its_file_and_has_no_model(tmp_path: Path) -> None:
    old = {name: value for name, value in SWE_AGENT.items() if name != "replay_config"}
    told = imported(FORMAT, written(tmp_path, "django-1.traj", old)).statement
    assert (told.session.partition("#")[0], told.model) == ("django-1", "")


def test_runs_of_one_instance_are_sessions_apart_and_copies_are_not(tmp_path: Path) -> None:
    info: Any = {"model_stats": {"instance_cost": 0.5, "api_calls": 9}}
    first, second, copy = (
        imported(FORMAT, written(tmp_path, f"{folder}/repo-i1.traj", content)).statement.id
        for folder, content in (("a", SWE_AGENT), ("b", {**SWE_AGENT, "info": info}), ("c", SWE_AGENT))
    )
    assert first == copy != second


def test_bad_stats_are_a_problem(tmp_path: Path) -> None:
    bad = {**SWE_AGENT, "info": {"model_stats": {"api_calls": -3}}}
    found = imported(FORMAT, written(tmp_path, "repo-i1.traj", bad))
    assert not found.calls
    assert "api_calls=-3" in found.problems[0]
