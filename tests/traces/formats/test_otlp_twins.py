"""Records of ours beside spans of other instrumentations that saw the same calls: each call counts once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.call import RECORDED_TWICE, TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.otlp import FORMAT
from budgeted_agents.traces.formats.otlp.conversations import MOST
from tests.traces.formats.otlp_lines import START, chat, line, span, write

SECOND = 1_000_000_000


def at(record: dict[str, Any], start: float, end: float) -> dict[str, Any]:
    """A span at these seconds."""
    times = {"startTimeUnixNano": START + int(start * SECOND), "endTimeUnixNano": START + int(end * SECOND)}
    return record | {name: str(time) for name, time in times.items()}


def ours(id: str = "r1", start: float = 0.1, end: float = 1.1, **changes: Any) -> dict[str, Any]:
    """A call as our recorder writes it, in a trace of its own."""
    return at(chat(id, trace=f"trace of {id}", budget__reservation__id=id, **changes), start, end)


def theirs(id: str = "a1", start: float = 0.0, end: float = 1.0, parent: str = "", **changes: Any) -> dict[str, Any]:
    """The same as another instrumentation writes it."""
    return at(chat(id, parent, **changes), start, end)


def tool(id: str, **attributes: Any) -> dict[str, Any]:
    named = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    return span(id, **named, **{"gen_ai.conversation.id": "conversation-1"}, **attributes)


def read(folder: Path, *spans: dict[str, Any]) -> list[TracedCall]:
    return list(FORMAT.read(FileSource(write(folder / "spans.jsonl", *(line(span) for span in spans)))))


@pytest.mark.parametrize("order", [1, -1])
def test_ours_counts_and_says_so(tmp_path: Path, order: int) -> None:
    (call,) = read(tmp_path, *[theirs(), ours()][::order])
    assert (call.id, call.flags) == ("r1", (RECORDED_TWICE,))


@pytest.mark.parametrize(
    "changes",
    [
        {"gen_ai__usage__input_tokens": 101},
        {"gen_ai__usage__output_tokens": 21},
        {"gen_ai__request__model": "gpt-4.1", "gen_ai__response__model": "gpt-4.1-2025-04-14"},
        {"gen_ai__conversation__id": "conversation-2"},
        {"gen_ai__operation__name": "embeddings"},
        {"start": 0.7, "end": 1.7},  # most of it lies after ours
        {"start": 1.1, "end": 2.1},
    ],
)
def test_a_call_that_differs_is_another_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    calls = read(tmp_path, theirs(**changes), ours())
    assert [(call.span or call.id, call.flags) for call in calls] == [("a1", ()), ("r1", ())]


def test_a_model_may_go_by_either_of_its_names(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"gen_ai__request__model": "openai/gpt-4o", "gen_ai__response__model": "gpt-4o-2024-11-20"}
    assert [call.id for call in read(tmp_path, theirs(**asked), ours())] == ["r1"]


def test_calls_without_tokens_prove_nothing(tmp_path: Path) -> None:
    none: dict[str, Any] = {"gen_ai__usage__input_tokens": 0, "gen_ai__usage__output_tokens": 0}
    assert len(read(tmp_path, theirs(**none), ours(**none))) == 2


def test_without_a_record_of_ours_nothing_is_a_twin(tmp_path: Path) -> None:
    assert [call.flags for call in read(tmp_path, theirs("a1"), theirs("a2"))] == [(), ()]


def test_like_calls_at_once_are_all_counted(tmp_path: Path) -> None:
    """Also one that only the other instrumentation saw."""
    calls = read(tmp_path, *(theirs(f"a{n}") for n in range(4)), *(ours(f"r{n}") for n in range(3)))
    assert sorted(call.id.rpartition("/")[2] for call in calls)[1:] == ["r0", "r1", "r2"]
    assert len(calls) == 4


def test_of_like_calls_the_nearest_is_the_twin(tmp_path: Path) -> None:
    spans = [theirs("long", 0, 3), theirs("short", 0, 1), ours("r1", 0.1, 1.1), ours("r2", 0.1, 3.1)]
    assert [call.id for call in read(tmp_path, *spans)] == ["r1", "r2"]


def test_a_framework_and_its_client_both_saw_it(tmp_path: Path) -> None:
    assert [call.id for call in read(tmp_path, theirs("client", 0.1, 0.9, "a1"), theirs(), ours())] == ["r1"]


def test_a_tool_keeps_what_the_other_knows_of_its_arguments(tmp_path: Path) -> None:
    other = at(tool("a1", **{"gen_ai.tool.call.arguments": '{"q": 1}'}), 0.2, 0.8)
    (call,) = read(tmp_path, other, at(tool("r1", **{"budget.reservation.id": "r1"}), 0.1, 0.9))
    assert (call.id, call.flags) == ("r1", (RECORDED_TWICE,))
    assert call.fingerprint


def test_a_call_takes_the_session_that_its_trace_names_before_it_is_compared(tmp_path: Path) -> None:
    nameless = theirs(without="gen_ai.conversation.id")
    agent = span("agent", **{"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "conversation-1"})
    assert [call.id for call in read(tmp_path, nameless, ours(), agent)] == ["r1"]


@pytest.mark.parametrize("before", [0, 1, 500, MOST - 150, MOST - 2, MOST - 1, MOST])
def test_twins_are_found_wherever_they_stand_in_a_long_file(tmp_path: Path, before: int) -> None:
    """Each is the only one at its time; order is kept, and none takes another's twin."""
    pairs = [
        pair for n in range(700) for pair in (theirs(f"a{n}", 2 * n, 2 * n + 1), ours(f"r{n}", 2 * n, 2 * n + 1.1))
    ]
    others = [theirs(f"b{n}", -2 * n - 2, -2 * n - 1) for n in range(before)]
    calls = read(tmp_path, *others, *pairs)
    assert [call.span for call in calls[:before]] == [f"b{n}" for n in range(before)]
    assert [call.id for call in calls[before:]] == [f"r{n}" for n in range(700)]
    assert {call.flags for call in calls[before:]} == {(RECORDED_TWICE,)}


def test_a_record_that_has_its_twin_is_none_to_a_later_one(tmp_path: Path) -> None:
    later = [theirs(f"c{n}", 10 * n + 10, 10 * n + 11) for n in range(MOST - 2)]
    calls = read(tmp_path, *later[:-1], theirs(), ours("r1"), later[-1], ours("r2"))
    assert [call.id for call in calls if call.id.startswith("r")] == ["r1", "r2"]
    assert len(calls) == MOST
