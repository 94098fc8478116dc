"""mini-swe-agent trajectories."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from budgeted_agents.traces.call import NO_USAGE_RECORDED
from budgeted_agents.traces.formats.mini_swe_agent import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import MINI_SWE_AGENT
from tests.traces.formats.support import imported, written

NAME = "django__django-10914.traj.json"


def test_each_answer_is_a_call_also_one_that_could_not_be_used(tmp_path: Path) -> None:
    found = imported(FORMAT, written(tmp_path, NAME, MINI_SWE_AGENT))
    assert [(call.id, call.model, call.usage, call.recorded_cost) for call in found.models] == [
        ("chatcmpl-1", "claude-sonnet-4-5-20250929", Usage(200, cache_read=800, output=50), Decimal("0.01")),
        ("chatcmpl-2", "anthropic/claude-sonnet-4-5", Usage(1100, output=60), Decimal("0.02")),
    ]
    assert found.models[0].model_asked == "anthropic/claude-sonnet-4-5"
    assert found.models[0].started_at == 1770000000.5
    assert [tool for tool, _ in found.models[0].tools] == ["bash"]


def test_the_run_is_stated_in_sum(tmp_path: Path) -> None:
    told = imported(FORMAT, written(tmp_path, NAME, MINI_SWE_AGENT)).statement
    assert (told.recorded_cost, told.calls, told.turns, told.succeeded) == (Decimal("0.03"), 2, 1, True)
    assert told.session.startswith("django__django-10914#")


def test_the_usage_may_be_that_of_openais_responses(tmp_path: Path) -> None:
    usage: Any = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60}, "output_tokens": 7}
    run = {**MINI_SWE_AGENT, "messages": [{"role": "assistant", "extra": {"response": {"usage": usage}}}]}
    (call,) = imported(FORMAT, written(tmp_path, NAME, run)).models
    assert call.usage == Usage(40, cache_read=60, output=7)


def test_the_same_command_has_the_same_fingerprint_under_another_call_id(tmp_path: Path) -> None:
    extra: Any = {"response": {"id": "1"}, "actions": [{"command": "ls", "tool_call_id": id} for id in ("a", "b")]}
    run = {**MINI_SWE_AGENT, "messages": [{"role": "assistant", "extra": extra}]}
    first, second = imported(FORMAT, written(tmp_path, NAME, run)).models[0].tools
    assert first == second


def test_a_run_that_hit_a_limit_failed(tmp_path: Path) -> None:
    info: Any = {**MINI_SWE_AGENT["info"], "exit_status": "LimitsExceeded"}
    told = imported(FORMAT, written(tmp_path, NAME, {**MINI_SWE_AGENT, "info": info})).statement
    assert (told.succeeded, told.error) == (False, "LimitsExceeded")


def test_an_old_file_has_the_runs_cost_only(tmp_path: Path) -> None:
    old = {"info": {"model_stats": {"instance_cost": 0.5, "api_calls": 7}}, "messages": [{"role": "assistant"}]}
    found = imported(FORMAT, written(tmp_path, NAME, old))
    assert found.models == []
    assert (found.statement.recorded_cost, found.statement.calls) == (Decimal("0.5"), 7)
    assert found.statement.flags == (NO_USAGE_RECORDED,)


def test_an_answer_kept_as_text_has_a_cost_and_no_usage(tmp_path: Path) -> None:
    run = {**MINI_SWE_AGENT, "messages": [{"role": "user", "extra": {"cost": 0.5, "response": "ModelResponse(...)"}}]}
    (call,) = imported(FORMAT, written(tmp_path, NAME, run)).models
    assert (call.recorded_cost, call.flags) == (Decimal("0.5"), (NO_USAGE_RECORDED,))
