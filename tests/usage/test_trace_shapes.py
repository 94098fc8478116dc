"""What the usage in traces of platforms and benchmarks means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.usage import Usage

READERS = [
    Usage.from_langfuse,
    Usage.from_inspect,
    Usage.from_openhands,
    Usage.from_atif,
    Usage.from_claude_code,
    Usage.from_flat,
]
COUNTS = st.integers(min_value=1, max_value=10**7)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"input": 20, "output": 5, "input_cache_read": 80}, Usage(input=20, output=5, cache_read=80)),
        ({"input": 90, "output": 5, "input_cache_read": 80}, Usage(input=90, output=5, cache_read=80)),
        ({"input": 90, "output": 5, "total": 95, "input_cache_read": 80}, Usage(input=10, output=5, cache_read=80)),
        ({"input": 90, "output": 9, "total": 99, "output_reasoning": 5}, Usage(input=90, output=4, reasoning=5)),
        (
            {"input": 90, "output": 9, "total": 104, "input_cache_read": 80, "output_reasoning": 5},
            Usage(input=10, output=9, cache_read=80, reasoning=5),
        ),
        (
            {"input": 10, "output": 9, "input_audio": 4, "output_audio": 3},
            Usage(10, audio_input=4, output=9, audio_output=3),
        ),
    ],
)
def test_langfuse_keeps_classes_apart_unless_the_total_says_otherwise(reported: Any, expected: Usage) -> None:
    assert Usage.from_langfuse(reported) == expected


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (
            {"input_tokens": 15235, "output_tokens": 281, "total_tokens": 15516, "input_tokens_cache_read": 9088},
            Usage(input=6147, cache_read=9088, output=281),
        ),
        (
            {"input_tokens": 6147, "output_tokens": 281, "total_tokens": 15516, "input_tokens_cache_read": 9088},
            Usage(input=6147, cache_read=9088, output=281),
        ),
        (
            {"input_tokens": 3, "output_tokens": 50, "input_tokens_cache_write": 40, "reasoning_tokens": 20},
            Usage(input=3, cache_write_5m=40, output=30, reasoning=20),
        ),
    ],
)
def test_inspect_kept_the_cache_inside_in_old_logs(reported: Any, expected: Usage) -> None:
    assert Usage.from_inspect(reported) == expected


def test_openhands_keeps_the_cache_inside_except_behind_other_agents() -> None:
    inside = {"prompt_tokens": 100, "completion_tokens": 50, "cache_read_tokens": 60, "cache_write_tokens": 30}
    assert Usage.from_openhands(inside) == Usage(input=10, cache_read=60, cache_write_5m=30, output=50)
    outside = {"prompt_tokens": 5, "completion_tokens": 50, "cache_read_tokens": 60, "reasoning_tokens": 20}
    assert Usage.from_openhands(outside) == Usage(input=5, cache_read=60, output=30, reasoning=20)


def test_atif_counts_a_step_and_a_whole_trajectory() -> None:
    step = {"prompt_tokens": 100, "completion_tokens": 9, "cached_tokens": 60, "extra": {"reasoning_tokens": 4}}
    assert Usage.from_atif(step) == Usage(input=40, cache_read=60, output=5, reasoning=4)
    final = {"total_prompt_tokens": 100, "total_completion_tokens": 9, "total_cached_tokens": 60}
    assert Usage.from_atif(final) == Usage(input=40, cache_read=60, output=9)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_inclusive_and_exclusive_logs_of_one_call_agree(fresh: int, cached: int, reasoning: int, answer: int) -> None:
    """Where a total is stated, nobody has to guess."""
    whole, usage = fresh + cached + reasoning + answer, Usage(fresh, cached, output=answer, reasoning=reasoning)
    details = {"input_cache_read": cached, "output_reasoning": reasoning, "total": whole}
    inside = Usage.from_langfuse({"input": fresh + cached, "output": answer + reasoning, **details})
    outside = Usage.from_langfuse({"input": fresh, "output": answer, **details})
    assert inside == outside == usage


@pytest.mark.parametrize("read", READERS)
def test_nothing_reported_is_nothing_used(read: Any) -> None:
    assert read({}) == read(None) == Usage()


@pytest.mark.parametrize(
    ("read", "reported", "field"),
    [
        (Usage.from_langfuse, {"input": -1}, "input"),
        (Usage.from_langfuse, {"input": True}, "input"),
        (Usage.from_inspect, {"input_tokens": 1.5}, "input_tokens"),
        (Usage.from_openhands, {"prompt_tokens": 10**12}, "prompt_tokens"),
        (Usage.from_atif, {"extra": {"reasoning_tokens": "9"}}, "reasoning_tokens"),
        (Usage.from_atif, [1, 2], "usage"),
    ],
)
def test_a_bad_count_is_refused_by_name(read: Any, reported: Any, field: str) -> None:
    with pytest.raises(InvalidUsage) as caught:
        read(reported, place="call 7")
    assert (caught.value.field, "call 7" in caught.value.place) == (field, True)


def test_claude_code_counts_the_cache_outside_of_input() -> None:
    figures = {"inputTokens": 5, "outputTokens": 6, "cacheReadInputTokens": 70, "cacheCreationInputTokens": 8}
    assert Usage.from_claude_code(figures | {"webSearchRequests": 2}) == Usage(
        input=5, output=6, cache_read=70, cache_write_5m=8, web_searches=2
    )


def test_flat_totals_include_their_parts() -> None:
    totals = {"input_tokens": 1000, "output_tokens": 300, "total_tokens": 1300, "web_searches": 1}
    parts = {
        "cached_input_tokens": 600,
        "cache_write_input_tokens": 50,
        "cache_write_1h_input_tokens": 20,
        "audio_input_tokens": 10,
        "image_input_tokens": 5,
        "reasoning_output_tokens": 200,
        "audio_output_tokens": 4,
        "image_output_tokens": 3,
    }
    assert Usage.from_flat(totals | parts) == Usage(315, 600, 50, 20, 10, 5, 93, 200, 4, 3, web_searches=1)
