"""What Harbor says of its trials, beside their trajectories and without."""

from __future__ import annotations

import json
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.audit.folding import FileResult
from budgeted_agents.traces.audit.scan import scan, trace_calls
from budgeted_agents.traces.audit.sessions import conclude
from budgeted_agents.traces.call import CACHE_NOT_RECORDED, NO_USAGE_RECORDED
from budgeted_agents.traces.formats.atif import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import ATIF
from tests.traces.formats.support import imported, written

USED = {"n_input_tokens": 1000, "n_cache_tokens": 600, "n_output_tokens": 50, "cost_usd": 0.02, "model_usage": None}
HALF = {"n_input_tokens": 500, "n_cache_tokens": 300, "n_output_tokens": 25, "cost_usd": 0.01}


def trial(used: dict[str, Any] | None = USED, **fields: Any) -> dict[str, Any]:
    """The result of a trial."""
    return {
        "id": "6e0f3d1c-0000-4000-8000-000000000001",
        "task_name": "chess",
        "trial_name": "chess__x1Y2z3A",
        "trial_uri": "chess__x1Y2z3A",
        "task_id": {"path": "tasks/chess"},
        "task_checksum": "c0ffee",
        "config": {"task": {"path": "tasks/chess"}, "agent": {"name": "aider"}},
        "agent_info": {"name": "aider", "version": "1", "model_info": {"name": "gpt-4o", "provider": "openai"}},
        "agent_result": used,
        "verifier_result": {"rewards": {"reward": 1.0}},
        "exception_info": None,
        "started_at": "2026-01-15T10:00:00Z",
        "finished_at": "2026-01-15T10:01:00Z",
        "step_results": None,
    } | fields


def job(**stats: Any) -> dict[str, Any]:
    return {"id": "j", "started_at": "2026-01-15T10:00:00", "n_total_trials": 1, "stats": stats}


def test_a_trial_without_a_trajectory_is_known_by_its_sums(tmp_path: Path) -> None:
    outcome, sums = imported(FORMAT, written(tmp_path, "result.json", trial())).calls
    assert (outcome.kind, outcome.session, outcome.succeeded, outcome.turns) == ("statement", "chess__x1Y2z3A", True, 1)
    assert (sums.session, sums.model, sums.node, sums.kind) == ("chess__x1Y2z3A", "openai/gpt-4o", "aider", "statement")
    assert (sums.usage, sums.recorded_cost) == (Usage(input=400, cache_read=600, output=50), Decimal("0.02"))
    assert (sums.flags, sums.calls, sums.ended_at - sums.started_at) == ((), 0, 60)


@pytest.mark.parametrize(
    ("of_haiku", "models"), [(0.01, ["claude-opus-4-6", "claude-haiku-4-5"]), (None, ["openai/gpt-4o"])]
)
def test_each_model_has_its_share_if_the_shares_are_the_whole(
    tmp_path: Path, of_haiku: float | None, models: list[str]
) -> None:
    usage = {"claude-opus-4-6": HALF, "claude-haiku-4-5": {**HALF, "cost_usd": of_haiku}}
    _, *sums = imported(FORMAT, written(tmp_path, "result.json", trial({**USED, "model_usage": usage}))).calls
    assert [call.model for call in sums] == models
    assert sum(call.recorded_cost or 0 for call in sums) == Decimal("0.02")
    assert len({call.id for call in sums}) == len(sums)


@pytest.mark.parametrize(
    ("rewards", "succeeded"),
    [
        ({"reward": 0}, False),
        ({"reward": 0.5}, False),
        ({"a": 1, "b": 1.0}, True),
        ({"a": 1, "b": 0}, False),
        (None, None),
    ],
)
def test_a_full_reward_is_success(tmp_path: Path, rewards: Any, succeeded: bool | None) -> None:
    result = trial(verifier_result={"rewards": rewards})
    assert imported(FORMAT, written(tmp_path, "result.json", result)).calls[0].succeeded is succeeded


def test_what_is_not_known_is_flagged(tmp_path: Path) -> None:
    for used, flags in (
        ({"cost_usd": 0.02}, (NO_USAGE_RECORDED,)),
        ({"n_input_tokens": 9, "n_output_tokens": 1}, (CACHE_NOT_RECORDED,)),
    ):
        sums = imported(FORMAT, written(tmp_path, "result.json", trial(used))).calls[1]
        assert sums.flags == flags
    assert len(imported(FORMAT, written(tmp_path, "result.json", trial(None))).calls) == 1


def test_of_a_trial_with_a_trajectory_only_the_outcome_is_taken(tmp_path: Path) -> None:
    """The trajectory has the same figures; the job's result sums up all of them once more."""
    written(tmp_path / "job" / "chess", "result.json", trial(exception_info={"exception_type": "AgentTimeoutError"}))
    written(tmp_path / "job" / "chess" / "agent", "trajectory.json", ATIF)
    written(tmp_path / "job", "result.json", job(n_completed_trials=1, cost_usd=0.02))
    found = scan([tmp_path / "job"], workers=1)
    assert [problem for file in found.files for problem in file.problems.kept] == []
    ((name, session),) = found.audit.sessions.items()
    assert (name, session.succeeded, session.turns, session.calls) == ("session-1", True, 1, 1)
    assert conclude(session).gap == 0


def test_a_trajectory_without_figures_leaves_the_sums_to_count(tmp_path: Path) -> None:
    steps = [step | {"metrics": None} for step in ATIF["steps"]]
    written(tmp_path / "agent", "trajectory.json", {**ATIF, "steps": steps, "final_metrics": None})
    outcome, sums = imported(FORMAT, written(tmp_path, "result.json", trial())).calls
    assert (outcome.session, sums.session, sums.recorded_cost) == ("session-1", "session-1", Decimal("0.02"))


@pytest.mark.parametrize("content", [b"{cut off", {"schema_version": "2", "steps": []}])
def test_what_is_no_trajectory_leaves_the_sums_to_count(tmp_path: Path, content: Any) -> None:
    written(tmp_path / "agent", "trajectory.json", content)
    assert [call.session for call in imported(FORMAT, written(tmp_path, "result.json", trial())).calls] == [
        "chess__x1Y2z3A",
        "chess__x1Y2z3A",
    ]


def test_steps_of_a_trial_each_have_an_outcome(tmp_path: Path) -> None:
    steps = [
        {"step_name": "plan", "agent_result": HALF, "verifier_result": {"rewards": {"reward": 1}}},
        {"step_name": "do", "agent_result": HALF, "verifier_result": {"rewards": {"reward": 0}}},
    ]
    written(tmp_path / "steps" / "plan" / "agent", "trajectory.json", ATIF)
    found = imported(FORMAT, written(tmp_path, "result.json", trial(None, step_results=steps))).calls
    assert [(call.session, call.succeeded, call.recorded_cost) for call in found] == [
        ("session-1", True, None),
        ("chess__x1Y2z3A", False, None),
        ("chess__x1Y2z3A", None, Decimal("0.01")),
    ]


def test_a_bad_sum_costs_itself(tmp_path: Path) -> None:
    found = imported(FORMAT, written(tmp_path, "result.json", trial({**USED, "n_input_tokens": -1})))
    assert [call.succeeded for call in found.calls] == [True]
    assert "agent_result of chess__x1Y2z3A: total_prompt_tokens=-1: is negative" in found.problems[0]


def test_in_an_archive_it_says_nothing(tmp_path: Path) -> None:
    """Whether a trajectory has the same figures cannot be told there."""
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as archive:
        archive.writestr("chess/result.json", json.dumps(trial(), indent=1))
    found = scan([tmp_path / "job.zip"], workers=1)
    assert found.audit.sessions == {}
    assert "unpack the archive" in str(found.files[0].problems.kept[0])


def test_an_agents_own_logs_below_its_trajectory_are_copies(tmp_path: Path) -> None:
    """Unless the trajectory has no figures, or is not part of the input, or a format is asked for."""
    agent = tmp_path / "chess" / "agent"
    (agent / "sessions").mkdir(parents=True)
    (agent / "trajectory.json").write_text(json.dumps(ATIF))
    log = agent / "sessions" / "s.jsonl"
    log.write_text(json.dumps({"id": "1", "session": "s", "model": "gpt-4o", "input_tokens": 5, "output_tokens": 1}))
    (agent / "notes.txt").write_text("no trace")
    calls = sum(session.calls for session in scan([agent / "trajectory.json"]).audit.sessions.values())
    assert calls > 0

    result = scan([tmp_path])
    assert sum(session.calls for session in result.audit.sessions.values()) == calls
    assert [(Path(file.path).name, file.format, file.calls) for file in result.files] == [
        ("notes.txt", None, 0),
        ("trajectory.json", "atif", calls),
        ("s.jsonl", "neutral", 0),
    ]
    assert "tells of the same calls" in str(result.files[-1].problems.kept[0])
    assert "not read: 1." in result.warnings[0]
    files: list[FileResult] = []
    assert sum(call.kind == "model" for call in trace_calls([tmp_path], files=files)) == calls
    assert [Path(file.path).name for file in files] == ["s.jsonl", "notes.txt", "trajectory.json"]

    assert list(scan([agent / "sessions"]).audit.sessions) == ["s"]
    assert "s" in scan([tmp_path], format="neutral").audit.sessions
    (agent / "trajectory.json").write_text(json.dumps({**ATIF, "steps": [], "final_metrics": None}))
    assert "s" in scan([tmp_path]).audit.sessions
