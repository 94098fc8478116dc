"""Codex: running totals become calls, and what a fork copied from its parent is not the fork's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from budgeted_agents import replay
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.codex import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.lines import write_lines
from tests.traces.formats.samples import samples
from tests.traces.formats.support import imported

BEGAN = 1_780_920_000  # 2026-06-08T12:00:00Z


def line(kind: str, at: str = "2026-06-08T12:00:01Z", **payload: Any) -> dict[str, Any]:
    return {"timestamp": at, "type": kind, "payload": payload}


def meta(id: str = "s1", **payload: Any) -> dict[str, Any]:
    return line("session_meta", "2026-06-08T12:00:00Z", id=id, model_provider="openai", cwd="/src/app", **payload)


def tokens(input: Any, cached: int = 0, output: int = 0, reasoning: int = 0) -> dict[str, Any]:
    counts = {"input_tokens": input, "cached_input_tokens": cached, "output_tokens": output}
    total = input + output if isinstance(input, int) else 0
    return counts | {"reasoning_output_tokens": reasoning, "total_tokens": total}


def count(total: dict[str, Any] | None, last: dict[str, Any] | None = None) -> dict[str, Any]:
    info = None if total is None else {"total_token_usage": total, "last_token_usage": last or total}
    return line("event_msg", type="token_count", info=info)


def test_a_call_is_what_the_total_has_grown_by(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "rollout.jsonl",
        meta(),
        line("turn_context", model="gpt-5"),
        line("event_msg", type="user_message", message="fix it"),
        count(None),
        count(tokens(1000, 600, 50, 20)),
        count(tokens(1000, 600, 50, 20)),
        line("turn_context", model="gpt-5-mini"),
        count(tokens(1500, 600, 90, 30)),
    )
    found = imported(FORMAT, source)
    first, second = found.models
    assert (first.session, first.model, first.provider) == ("s1", "gpt-5", "openai")
    assert first.usage == Usage(input=400, cache_read=600, output=30, reasoning=20)
    assert (second.model, second.usage) == ("gpt-5-mini", Usage(input=500, output=30, reasoning=10))
    assert first.attribution == {"project": "/src/app"}
    assert found.statement.turns == 1
    assert found.problems == []


def test_what_a_fork_copied_is_the_parents(tmp_path: Path) -> None:
    started = {"type": "task_started", "turn_id": "t"}
    source = write_lines(
        tmp_path / "rollout.jsonl",
        meta(forked_from_id="s0"),
        meta("s0"),
        line("event_msg", **started, started_at=BEGAN - 5000),
        line("event_msg", type="user_message"),
        line("response_item", type="function_call", name="shell", arguments="{}"),
        count(tokens(1000)),
        line("event_msg", **started, started_at=BEGAN + 5),
        line("event_msg", type="user_message"),
        count(tokens(1007)),
    )
    found = imported(FORMAT, source)
    (call,) = found.models
    assert (call.session, call.usage, call.tools) == ("s1", Usage(input=7), ())
    assert found.statement.turns == 1


def test_a_total_that_was_started_again_counts_from_there(tmp_path: Path) -> None:
    events = [count(tokens(1000, output=10)), count(tokens(30, output=3)), count(tokens(35, output=4))]
    calls = imported(FORMAT, write_lines(tmp_path / "rollout.jsonl", meta(), *events)).models
    assert [call.usage.total_tokens for call in calls] == [1010, 33, 6]


def test_a_running_total_may_be_more_than_one_call_can_have(tmp_path: Path) -> None:
    events = [count(tokens(900_000_000 * times)) for times in (1, 2, 3)]
    calls = imported(FORMAT, write_lines(tmp_path / "rollout.jsonl", meta(), *events)).models
    assert [call.usage.input for call in calls] == [900_000_000] * 3


def test_tools_belong_to_the_answer_that_asked_for_them(tmp_path: Path) -> None:
    source = write_lines(
        tmp_path / "rollout.jsonl",
        meta(),
        line("response_item", type="function_call", name="shell", arguments='{"a": 1, "b": 2}'),
        line("response_item", type="custom_tool_call", name="apply_patch", input="*** patch"),
        count(tokens(10)),
        line("response_item", type="function_call", name="shell", arguments='{"b": 2, "a": 1}'),
        line("response_item", type="local_shell_call", action={"command": ["ls"]}),
        count(tokens(20)),
    )
    first, second = imported(FORMAT, source).models
    assert [tool for tool, _ in first.tools] == ["shell", "apply_patch"]
    assert [tool for tool, _ in second.tools] == ["shell", "local_shell"]
    assert first.tools[0] == second.tools[0]


def test_copies_of_a_rollout_have_the_same_ids(tmp_path: Path) -> None:
    lines = [meta(), count(tokens(10)), count(tokens(20))]
    one = imported(FORMAT, write_lines(tmp_path / "a.jsonl", *lines)).models
    other = imported(FORMAT, write_lines(tmp_path / "b.jsonl", lines[0], *lines[1:], count(tokens(50)))).models
    assert {call.id for call in one} < {call.id for call in other}


@pytest.mark.parametrize("bad", [b"{cut off", b"3", count(tokens(-5)), count(tokens("many"))])
def test_a_bad_line_costs_itself(tmp_path: Path, bad: Any) -> None:
    source = write_lines(tmp_path / "rollout.jsonl", meta(), count(tokens(10)), bad, count(tokens(30)))
    found = imported(FORMAT, source)
    assert [call.usage.input for call in found.models] == [10, 20]
    assert source.problems.skipped == 1
    assert f"{source.path}:3" in found.problems[0]


def test_exec_tells_a_running_total_too(tmp_path: Path) -> None:
    usage = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 9}
    source = write_lines(
        tmp_path / "out.jsonl",
        {"type": "thread.started", "thread_id": "t1"},
        {"type": "turn.completed", "usage": usage},
        {"type": "turn.completed", "usage": usage | {"input_tokens": 150}},
    )
    first, second, asked = FORMAT.read(source)
    assert (first.session, first.usage) == ("t1", Usage(input=60, cache_read=40, output=9))
    assert second.usage == Usage(input=50)
    assert [(each.kind, each.calls, each.turns) for each in (first, second)] == [("statement", 0, 0)] * 2
    assert (asked.id, asked.turns) == ("turns:t1", 2)


def test_what_exec_printed_does_not_count_beside_the_rollout(tmp_path: Path) -> None:
    """Its turns have several calls, so that neither ids nor sums would agree."""
    write_lines(tmp_path / "rollout.jsonl", meta(), count(tokens(10)), count(tokens(30)))
    usage = {"input_tokens": 30, "cached_input_tokens": 0, "output_tokens": 0}
    printed = write_lines(
        tmp_path / "out.jsonl",
        {"type": "thread.started", "thread_id": meta()["payload"]["id"]},
        {"type": "turn.completed", "usage": usage},
    )
    (session,) = replay(tmp_path).sessions
    assert (session.figures.calls, session.figures.input_tokens) == (2, 30)
    (session,) = replay(printed.path).sessions
    assert (session.figures.input_tokens, session.turns, session.flags) == (30, 1, ("session_only",))


@pytest.mark.parametrize(
    "head", [b"", b"{", b'{"type": "session_meta"}', b'{"timestamp": 1, "type": "x", "payload": {}}']
)
def test_others_are_not_recognized(tmp_path: Path, head: bytes) -> None:
    assert not FORMAT.detect(write_lines(tmp_path / "a.jsonl", head))


def test_of_a_real_fork_only_the_last_event_counts() -> None:
    for file in samples("codex"):
        found = imported(FORMAT, FileSource(file))
        (call,) = found.models
        assert call.session == "multi-leaf"
        assert (call.usage.prompt_tokens, call.usage.cache_read, call.usage.completion_tokens) == (5000, 3000, 500)
        assert len(found.problems) == 1
