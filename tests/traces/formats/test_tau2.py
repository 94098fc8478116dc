"""tau2-bench and tau-bench results."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.call import CACHE_NOT_RECORDED, NO_USAGE_RECORDED
from budgeted_agents.traces.formats.tau2 import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import TAU2
from tests.traces.formats.support import imported, written


def simulation(**fields: Any) -> dict[str, Any]:
    return {**TAU2, "simulations": [{**TAU2["simulations"][0], **fields}]}


def test_each_message_a_model_wrote_is_a_call(tmp_path: Path) -> None:
    found = imported(FORMAT, written(tmp_path, "results.json", TAU2))
    assert [(call.node, call.model, call.usage, call.recorded_cost, call.flags) for call in found.models] == [
        ("user simulator", "gpt-4.1", Usage(2309, output=48), Decimal("0.001"), (CACHE_NOT_RECORDED,)),
        ("agent", "gpt-4.1-mini", Usage(6303, output=60), Decimal("0.002"), (CACHE_NOT_RECORDED,)),
    ]
    assert {call.session for call in found.calls} == {"sim-1"}
    assert found.models[0].started_at == 1773475432
    (tool,) = found.models[1].tools
    assert (tool[0], tool[1] != "") == ("get_customer", True)


def test_the_simulation_says_what_it_cost_and_whether_it_succeeded(tmp_path: Path) -> None:
    told = imported(FORMAT, written(tmp_path, "results.json", TAU2)).statement
    assert (told.recorded_cost, told.calls, told.turns, told.succeeded) == (Decimal("0.003"), 2, 1, True)
    assert (told.started_at, told.ended_at) == (1773475430, 1773475483)


@pytest.mark.parametrize(
    ("reward", "succeeded"), [({"reward": 0.0}, False), ({"reward": 0.5}, False), (None, None), ({"reward": "1"}, None)]
)
def test_only_the_full_reward_is_success(tmp_path: Path, reward: Any, succeeded: bool | None) -> None:
    source = written(tmp_path, "results.json", simulation(reward_info=reward))
    assert imported(FORMAT, source).statement.succeeded is succeeded


def test_cached_tokens_are_taken_from_the_providers_own_usage(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5}
    original = {**usage, "prompt_tokens_details": {"cached_tokens": 64}}
    message = {"role": "assistant", "cost": 0.1, "usage": usage, "raw_data": {"model": "m-1", "usage": original}}
    (call,) = imported(FORMAT, written(tmp_path, "results.json", simulation(messages=[message]))).models
    assert (call.usage, call.flags) == (Usage(36, cache_read=64, output=5), ())
    assert (call.model, call.model_asked) == ("m-1", "gpt-4.1-mini")


def test_a_bad_message_costs_only_itself(tmp_path: Path) -> None:
    bad = {"role": "user", "cost": 0.1, "usage": {"prompt_tokens": -1, "completion_tokens": 1}}
    good = {"role": "user", "cost": 0.1, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    found = imported(FORMAT, written(tmp_path, "results.json", simulation(messages=[good, bad, good])))
    assert [call.id for call in found.models] == ["sim-1:0", "sim-1:2"]
    assert "message 1 of simulation sim-1: prompt_tokens=-1" in found.problems[0]


TRIAL: dict[str, Any] = {
    "task_id": 3,
    "trial": 1,
    "reward": 0.0,
    "info": {"user_cost": 0.0125, "source": "user"},
    "traj": [
        {"role": "user", "content": ""},
        {"role": "assistant", "tool_calls": [{"function": {"name": "cancel", "arguments": '{"id": 1}'}}]},
        {"role": "tool", "name": "cancel"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "cancel", "arguments": {"id": 1}}}]},
        {"role": "user", "content": "###STOP###"},
    ],
}


def test_tau_bench_tells_the_cost_of_the_user_only(tmp_path: Path) -> None:
    found = imported(FORMAT, written(tmp_path, "results.json", [TRIAL]))
    told = found.statement
    assert (told.recorded_cost, told.node, told.turns, told.succeeded) == (
        Decimal("0.0125"),
        "user simulator",
        2,
        False,
    )
    assert (told.flags, found.models) == ((NO_USAGE_RECORDED,), [])
    first, second = found.of("tool")
    assert (first.tool, first.fingerprint) == (second.tool, second.fingerprint)


def test_trials_of_one_task_are_sessions_apart_and_copies_are_not(tmp_path: Path) -> None:
    other = {**TRIAL, "info": {"user_cost": 0.02}}
    found = imported(FORMAT, written(tmp_path, "results.json", [TRIAL, other, TRIAL]))
    first, second, copy = found.of("statement")
    assert (first.id, first.session) == (copy.id, copy.session) != (second.id, second.session)
