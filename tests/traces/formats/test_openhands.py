"""OpenHands: conversations, trajectories, evaluations."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.formats.openhands import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import OPENHANDS
from tests.traces.formats.support import imported, written

METRICS: dict[str, Any] = OPENHANDS["stats"]["usage_to_metrics"]["agent"]


def conversation(**metrics: Any) -> dict[str, Any]:
    return {**OPENHANDS, "stats": {"usage_to_metrics": metrics}}


def test_costs_and_usages_pair_into_calls(tmp_path: Path) -> None:
    condenser = {"model_name": "gpt-4o-mini", "costs": [{"cost": 0.5}], "token_usages": [{"prompt_tokens": 7}]}
    state = conversation(agent=METRICS, condenser=condenser)
    found = imported(FORMAT, written(tmp_path, "base_state.json", state))
    assert [(call.id, call.node, call.usage, call.recorded_cost) for call in found.models] == [
        ("m1", "agent", Usage(1000, output=50), Decimal("0.01")),
        ("m2", "agent", Usage(300, cache_read=800, output=60), Decimal("0.02")),
        ("conversation-1:condenser:0", "condenser", Usage(7), Decimal("0.5")),
    ]
    assert (found.models[0].started_at, found.models[0].ended_at) == (1770000008.0, 1770000010.5)
    assert {call.session for call in found.calls} == {"conversation-1"}
    assert found.models[2].model == "gpt-4o-mini"


def test_the_conversation_is_stated_in_sum(tmp_path: Path) -> None:
    told = imported(FORMAT, written(tmp_path, "base_state.json", OPENHANDS)).statement
    assert (told.recorded_cost, told.calls, told.succeeded) == (Decimal("0.03"), 2, True)
    assert told.usage == Usage(1300, cache_read=800, output=110)


def test_lists_that_do_not_pair_leave_the_cost_to_the_sum(tmp_path: Path) -> None:
    metrics = {**METRICS, "costs": METRICS["costs"][:1]}
    found = imported(FORMAT, written(tmp_path, "base_state.json", conversation(agent=metrics)))
    assert [call.recorded_cost for call in found.models] == [None, None]
    assert found.statement.recorded_cost == Decimal("0.03")
    assert "1 costs and 2 usages do not pair" in found.problems[0]


def test_sums_alone_are_a_statement(tmp_path: Path) -> None:
    sums = {name: METRICS[name] for name in ("model_name", "accumulated_cost", "accumulated_token_usage")}
    found = imported(FORMAT, written(tmp_path, "base_state.json", conversation(agent=sums)))
    assert found.models == []
    assert (found.statement.model, found.statement.usage.total_tokens) == ("anthropic/claude-sonnet-4-5", 2210)


def test_events_beside_the_state_are_known_and_say_nothing_of_cost(tmp_path: Path) -> None:
    told = {"id": "e1", "timestamp": "2026-01-01T00:00:00", "source": "user", "kind": "MessageEvent"}
    assert not imported(FORMAT, written(tmp_path, "conversation/events/event-00001-e1.json", told)).calls


def event(id: int, cost: float, **fields: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 100 * id, "completion_tokens": id}
    metrics = {"accumulated_cost": cost, "accumulated_token_usage": usage}
    base = {"id": id, "timestamp": f"2025-05-01T10:00:0{id}", "source": "agent", "action": "run", "args": {}}
    return {**base, "llm_metrics": metrics, **fields}


def test_the_last_metrics_of_a_trajectory_are_those_of_the_whole(tmp_path: Path) -> None:
    asked = {"id": 0, "timestamp": "2025-05-01T10:00:00", "source": "user", "action": "message", "args": {}}
    ended = {"id": 3, "source": "environment", "observation": "state", "extras": {"agent_state": "finished"}}
    trajectory = [asked, event(1, 0.1), event(2, 0.3), ended]
    told = imported(FORMAT, written(tmp_path, "conversation-7.json", trajectory)).statement
    assert (told.recorded_cost, told.usage, told.turns) == (Decimal("0.3"), Usage(200, output=2), 1)
    assert (told.session.partition("#")[0], told.succeeded) == ("conversation-7", True)


@pytest.mark.parametrize(
    ("report", "succeeded"), [({"resolved": True}, True), ({"resolved": False}, False), ({}, None)]
)
def test_an_evaluation_has_a_line_for_each_instance(
    tmp_path: Path, report: dict[str, bool], succeeded: bool | None
) -> None:
    lines = [
        {
            "instance_id": f"repo-{i}",
            "test_result": {"report": report},
            "metadata": {},
            "metrics": {**METRICS, "token_usages": usages},
        }
        for i, usages in enumerate(([], [{"prompt_tokens": -1}, {"prompt_tokens": 5}]))
    ]
    found = imported(FORMAT, written(tmp_path, "output.jsonl", lines))
    assert [call.session.partition("#")[0] for call in found.of("statement")] == ["repo-0", "repo-1"]
    assert [call.succeeded for call in found.of("statement")] == [succeeded] * 2
    assert [call.usage for call in found.models] == [Usage(5)]
    assert found.problems[-1].startswith(f"{found.source.path}:2: token_usages[0] of agent")
