"""Calls of models that stand directly below each other in a trace: one call that was written twice, or two."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.audit import scan as scanning
from budgeted_agents.traces.audit.scan import scan, trace_calls
from tests.traces.audit.test_scan import prices
from tests.traces.formats.otlp_lines import chat, line, write

INPUT, OUTPUT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
OTHER = {"gen_ai.request.model": "o3", "gen_ai.response.model": "o3"}


def call(name: str, above: str = "", prompt: int = 100, completion: int = 20, **more: Any) -> Any:
    """A span, named by one letter."""
    return chat(name * 16, above and above * 16, **{INPUT: prompt, OUTPUT: completion} | more)


def silent(name: str, above: str = "") -> Any:
    """A span that tells of a call and not of its tokens."""
    span = call(name, above)
    span["attributes"] = [pair for pair in span["attributes"] if "usage" not in pair["key"]]
    return span


def nameless(name: str, above: str = "", prompt: int = 100, completion: int = 20) -> Any:
    """A span without any model."""
    span = call(name, above, prompt, completion)
    span["attributes"] = [pair for pair in span["attributes"] if "model" not in pair["key"]]
    return span


CASES: dict[str, tuple[list[Any], str]] = {
    "a client's span below a framework's": ([call("a"), call("b", "a")], "b"),
    "the inner one does not count tokens": ([call("a"), silent("b", "a")], "a"),
    "the outer one does not count tokens": ([silent("a"), call("b", "a")], "b"),
    "the outer one names no model": ([nameless("a"), call("b", "a")], "b"),
    "a sum of several, of no model": ([nameless("a", "", 300, 60), *(call(n, "a") for n in "bcd")], "bcd"),
    "a sum of several, of a model": ([call("a", "", 200, 50), call("b", "a"), call("c", "a", 100, 30)], "bc"),
    "one counts what was cached, one does not": ([call("a", "", 900), call("b", "a", 100)], "b"),
    "a guard called by what it guards": ([call("a", "", 5000, 500), call("b", "a", 200, 2)], "ab"),
    "another model, by chance as short": ([call("a", "", 5000, 1), call("b", "a", 200, 1, **OTHER)], "ab"),
    "three instrumentations": ([call("a"), call("b", "a"), call("c", "b")], "c"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nested_calls_count_by_what_they_say_and_not_by_their_order(case: str, tmp_path: Path) -> None:
    spans, counting = CASES[case]
    for order in permutations(spans):
        write(tmp_path / "spans.jsonl", *map(line, order))
        found = [each.span[0] for each in trace_calls([tmp_path])]
        assert sorted(found) == list(counting)
        assert sum(session.calls for session in scan([tmp_path], prices=prices).audit.sessions.values()) == len(
            counting
        )


def test_far_apart_a_call_that_says_nothing_displaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted itself then, without a price, if it comes first; a call that says as much as another is not."""
    monkeypatch.setattr(scanning, "_AT_ONCE", 1)
    for spans, counting in (
        ([silent("a"), call("b", "a")], "ab"),
        ([call("b", "a"), silent("a")], "b"),
        ([call("b", "a"), call("a")], "b"),
        ([call("a"), call("b", "a")], "a"),
    ):
        write(tmp_path / "spans.jsonl", *map(line, spans))
        assert [each.span[0] for each in trace_calls([tmp_path])] == list(counting)


@pytest.mark.parametrize("at_once", [1, 100])
def test_a_call_that_is_written_again_with_its_tokens_counts_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(scanning, "_AT_ONCE", at_once)
    write(tmp_path / "spans.jsonl", line(call("a")), line(silent("a")), line(call("a")))
    assert [each.usage.total_tokens for each in trace_calls([tmp_path])] == [120]
