"""ATIF trajectories."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from budgeted_agents.traces.call import NO_USAGE_RECORDED
from budgeted_agents.traces.formats.atif import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import ATIF
from tests.traces.formats.support import Imported, imported, written


def step(id: int, **fields: Any) -> dict[str, Any]:
    return {**ATIF["steps"][1], "step_id": id, **fields}


def read(folder: Path, **fields: Any) -> Imported:
    return imported(FORMAT, written(folder, "trajectory.json", {**ATIF, **fields}))


def test_a_step_with_metrics_is_a_call(tmp_path: Path) -> None:
    found = read(tmp_path)
    (call,) = found.models
    assert (call.session, call.model, call.node) == ("session-1", "claude-haiku-4-5", "terminus")
    assert (call.usage, call.recorded_cost) == (Usage(40, cache_read=60, output=9), Decimal("0.01"))
    assert [tool for tool, _ in call.tools] == ["bash"]
    assert (found.statement.recorded_cost, found.statement.calls, found.statement.turns) == (Decimal("0.01"), 1, 1)


def test_steps_copied_from_an_earlier_trajectory_do_not_count(tmp_path: Path) -> None:
    steps = [step(1, is_copied_context=True), ATIF["steps"][0] | {"is_copied_context": True}, step(2)]
    found = read(tmp_path, steps=steps)
    assert (len(found.models), found.statement.calls, found.statement.turns) == (1, 1, 0)


def test_steps_no_model_made_are_no_calls(tmp_path: Path) -> None:
    found = read(tmp_path, steps=[step(1, llm_call_count=0, metrics=None), step(2), step(3, metrics=None)])
    assert [call.flags for call in found.models] == [(), (NO_USAGE_RECORDED,)]


def test_sums_alone_are_a_statement(tmp_path: Path) -> None:
    found = read(tmp_path, steps=[step(1, metrics=None), step(2, metrics=None)])
    told = found.statement
    assert (found.models, told.calls, told.model) == ([], 2, "anthropic/claude-sonnet-4-5")
    assert (told.usage, told.recorded_cost) == (Usage(100, output=9), Decimal("0.01"))


def test_sub_agents_are_part_of_the_session(tmp_path: Path) -> None:
    final = {"total_prompt_tokens": 10, "total_cost_usd": 0.5}
    below = {"session_id": "other", "trajectory_id": "sub", "agent": {"name": "researcher"}, "steps": [step(2)]}
    summed = {"agent": {"name": "summarizer", "model_name": "gpt-4o"}, "steps": [], "final_metrics": final}
    found = read(tmp_path, subagent_trajectories=[below, summed])
    assert [(call.session, call.node) for call in found.models] == [
        ("session-1", "terminus"),
        ("session-1", "researcher"),
    ]
    assert len({call.id for call in found.calls}) == len(found.calls)
    assert {call.node: call.recorded_cost for call in found.of("statement")} == {
        "summarizer": Decimal("0.5"),
        "terminus": Decimal("0.01"),
    }


def test_a_continuation_repeats_no_id_of_what_it_continues(tmp_path: Path) -> None:
    first = read(tmp_path, steps=[step(1), step(2)])
    later = step(2, timestamp="2026-01-15T11:00:00Z")
    second = read(tmp_path, steps=[step(1, is_copied_context=True), later], final_metrics={"total_cost_usd": 1})
    assert {call.id for call in first.calls}.isdisjoint(call.id for call in second.calls)


def test_a_bad_step_costs_only_itself(tmp_path: Path) -> None:
    found = read(tmp_path, steps=[step(1, metrics={"prompt_tokens": -1}), step(2)])
    assert len(found.models) == 1
    assert "step 1 of session-1: prompt_tokens=-1" in found.problems[0]


def test_trajectories_without_session_are_named_after_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, session_id=None).models[0].session.startswith("trajectory#")
