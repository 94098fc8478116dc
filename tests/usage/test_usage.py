"""Usage: disjoint classes, and what each provider's numbers mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.usage import Usage, service_region, service_tier

COUNTS = st.integers(min_value=0, max_value=10**7)
USAGES = st.builds(Usage, **{field.name: COUNTS for field in fields(Usage)})


def test_totals_cover_every_token_class_once() -> None:
    usage = Usage(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, web_searches=5)
    assert usage.prompt_tokens == 63
    assert usage.completion_tokens == 960
    assert usage.total_tokens == 1023


@given(USAGES, USAGES)
def test_adding_adds_every_field(one: Usage, other: Usage) -> None:
    total = one + other
    for field in fields(Usage):
        assert getattr(total, field.name) == getattr(one, field.name) + getattr(other, field.name)


def test_adding_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Usage() + 1  # type: ignore[operator]


def test_openai_chat_completion_counts_cache_and_reasoning_inside() -> None:
    reported = {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 50, "accepted_prediction_tokens": 0},
    }
    expected = Usage(input=80, cache_read=1920, audio_input=6, output=150, reasoning=100, audio_output=50)
    assert Usage.from_openai(reported) == expected


def test_openai_response_has_the_same_meaning_under_other_names() -> None:
    reported = {
        "input_tokens": 5000,
        "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 3000},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 5020,
    }
    expected = Usage(input=1000, cache_read=1000, cache_write_5m=3000, output=15, reasoning=5)
    assert Usage.from_openai(reported) == expected


def test_reasoning_outside_of_the_completion_is_recognized_by_the_total() -> None:
    reported = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 180,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    assert Usage.from_openai(reported) == Usage(input=100, output=50, reasoning=30)


def test_anthropic_counts_the_cache_outside_of_input() -> None:
    reported = {
        "input_tokens": 12,
        "cache_read_input_tokens": 10_000,
        "cache_creation_input_tokens": 700,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 500},
        "output_tokens": 90,
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "standard",
    }
    expected = Usage(input=12, cache_read=10_000, cache_write_5m=200, cache_write_1h=500, output=90, web_searches=2)
    assert Usage.from_anthropic(reported) == expected


def test_a_cache_write_of_unknown_lifetime_counts_as_five_minutes() -> None:
    assert Usage.from_anthropic({"cache_creation_input_tokens": 700}) == Usage(cache_write_5m=700)


def test_gemini_counts_the_cache_inside_and_thoughts_outside() -> None:
    reported = {
        "promptTokenCount": 1500,
        "cachedContentTokenCount": 1000,
        "toolUsePromptTokenCount": 40,
        "candidatesTokenCount": 30,
        "thoughtsTokenCount": 200,
        "totalTokenCount": 1770,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1200}, {"modality": "AUDIO", "tokenCount": 300}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 10}],
    }
    usage = Usage.from_gemini(reported)
    assert usage == Usage(input=340, cache_read=1000, audio_input=200, output=20, reasoning=200, image_output=10)
    assert usage.total_tokens == reported["totalTokenCount"]


def test_gemini_of_the_python_client_spells_names_with_underscores() -> None:
    reported = {
        "prompt_token_count": 100,
        "candidates_token_count": 9,
        "thoughts_token_count": None,
        "prompt_tokens_details": [{"modality": "MediaModality.VIDEO", "token_count": 60}],
    }
    assert Usage.from_gemini(reported) == Usage(input=40, image_input=60, output=9)


def test_langchain_input_is_the_sum_of_all_classes() -> None:
    reported = {
        "input_tokens": 350,
        "output_tokens": 240,
        "total_tokens": 590,
        "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
        "output_token_details": {"audio": 10, "reasoning": 200},
    }
    expected = Usage(
        input=40, cache_read=100, cache_write_5m=200, audio_input=10, output=30, reasoning=200, audio_output=10
    )
    assert Usage.from_langchain(reported) == expected


@pytest.mark.parametrize("cache_creation", [0, 500])
def test_langchain_lifetimes_may_replace_the_sum_of_writes_or_break_it_down(cache_creation: int) -> None:
    reported = {
        "input_tokens": 600,
        "output_tokens": 1,
        "total_tokens": 601,
        "input_token_details": {
            "cache_read": 50,
            "cache_creation": cache_creation,
            "ephemeral_5m_input_tokens": 100,
            "ephemeral_1h_input_tokens": 400,
        },
    }
    expected = Usage(input=50, cache_read=50, cache_write_5m=100, cache_write_1h=400, output=1)
    assert Usage.from_langchain(reported) == expected


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_langchain_puts_openai_tiers_before_the_names_of_details(tier: str) -> None:
    reported = {
        "input_tokens": 100,
        "output_tokens": 50,
        "total_tokens": 150,
        "input_token_details": {f"{tier}_cache_read": 80, tier: 20},
        "output_token_details": {f"{tier}_reasoning": 30, tier: 20},
    }
    assert Usage.from_langchain(reported) == Usage(input=20, cache_read=80, output=20, reasoning=30)
    assert service_tier(reported) == tier


def test_litellm_has_cache_writes_in_details_and_at_the_top() -> None:
    reported = {
        "prompt_tokens": 1000,
        "completion_tokens": 60,
        "total_tokens": 1060,
        "prompt_tokens_details": {
            "cached_tokens": 600,
            "cache_creation_tokens": 300,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        },
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 600,
        "completion_tokens_details": {"reasoning_tokens": 50},
        "server_tool_use": {"web_search_requests": 1},
    }
    expected = Usage(
        input=100,
        cache_read=600,
        cache_write_5m=100,
        cache_write_1h=200,
        output=10,
        reasoning=50,
        web_searches=1,
    )
    assert Usage.from_litellm(reported) == expected


@pytest.mark.parametrize("total", [0, 1110])
def test_a_cache_that_cannot_be_inside_the_input_is_outside(total: int) -> None:
    reported = {
        "prompt_tokens": 10,
        "completion_tokens": 100,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": 1000},
    }
    assert Usage.from_litellm(reported) == Usage(input=10, cache_read=1000, output=100)


def test_a_modality_never_claims_what_the_cache_already_has() -> None:
    reported = {"input_tokens": 100, "output_tokens": 0, "input_token_details": {"cache_read": 90, "audio": 40}}
    assert Usage.from_langchain(reported) == Usage(cache_read=90, audio_input=10)


@pytest.mark.parametrize(
    "read", [Usage.from_openai, Usage.from_anthropic, Usage.from_gemini, Usage.from_langchain, Usage.from_litellm]
)
def test_nothing_reported_is_nothing_used(read: Any) -> None:
    assert read({}) == Usage()
    assert read(None) == Usage()


@given(
    prompt=COUNTS,
    completion=COUNTS,
    cached=COUNTS,
    written=COUNTS,
    reasoning=COUNTS,
    audio=COUNTS,
    total=st.one_of(st.just(0), COUNTS),
)
def test_no_report_makes_a_negative_count_or_drops_a_token(
    prompt: int, completion: int, cached: int, written: int, reasoning: int, audio: int, total: int
) -> None:
    usage = Usage.from_litellm(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_creation_tokens": written, "audio_tokens": audio},
            "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio},
        }
    )
    assert all(getattr(usage, field.name) >= 0 for field in fields(Usage))
    assert usage.prompt_tokens in (prompt, prompt + cached + written)
    assert usage.completion_tokens in (completion, completion + reasoning)


BAD: list[tuple[Any, Any, str]] = [
    (Usage.from_openai, {"prompt_tokens": -1}, "prompt_tokens"),
    (Usage.from_openai, {"prompt_tokens": True}, "prompt_tokens"),
    (Usage.from_openai, {"prompt_tokens": "12"}, "prompt_tokens"),
    (Usage.from_openai, {"prompt_tokens": 1.5}, "prompt_tokens"),
    (Usage.from_openai, {"prompt_tokens": float("nan")}, "prompt_tokens"),
    (Usage.from_openai, {"completion_tokens": float("inf")}, "completion_tokens"),
    (Usage.from_openai, {"completion_tokens": 10**9 + 1}, "completion_tokens"),
    (Usage.from_openai, {"completion_tokens": [1]}, "completion_tokens"),
    (Usage.from_openai, {"prompt_tokens_details": {"cached_tokens": -5}}, "cached_tokens"),
    (Usage.from_openai, {"prompt_tokens_details": 5}, "usage"),
    (Usage.from_openai, "prompt_tokens", "usage"),
    (Usage.from_anthropic, {"input_tokens": -3}, "input_tokens"),
    (Usage.from_anthropic, {"cache_read_input_tokens": -3}, "cache_read_input_tokens"),
    (Usage.from_anthropic, {"cache_creation": {"ephemeral_1h_input_tokens": 0.5}}, "ephemeral_1h_input_tokens"),
    (Usage.from_anthropic, {"server_tool_use": {"web_search_requests": False}}, "web_search_requests"),
    (Usage.from_gemini, {"promptTokenCount": -7}, "promptTokenCount"),
    (Usage.from_gemini, {"thoughtsTokenCount": {}}, "thoughtsTokenCount"),
    (Usage.from_gemini, {"promptTokensDetails": 7}, "promptTokensDetails"),
    (Usage.from_gemini, {"promptTokensDetails": [7]}, "usage"),
    (Usage.from_gemini, {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": -2}]}, "tokenCount"),
    (Usage.from_langchain, {"input_tokens": -1}, "input_tokens"),
    (Usage.from_langchain, {"input_token_details": {"cache_read": -1}}, "cache_read"),
    (Usage.from_langchain, {"input_token_details": {"flex_cache_read": -1}}, "flex_cache_read"),
    (Usage.from_langchain, {"output_token_details": {"reasoning": "many"}}, "reasoning"),
    (Usage.from_litellm, {"total_tokens": -1}, "total_tokens"),
    (Usage.from_litellm, {"prompt_tokens_details": {"cache_creation_tokens": -1}}, "cache_creation_tokens"),
    (Usage.from_litellm, ["prompt_tokens"], "usage"),
]


@pytest.mark.parametrize(("read", "reported", "field"), BAD)
def test_a_bad_count_is_refused_by_name(read: Any, reported: Any, field: str) -> None:
    with pytest.raises(InvalidUsage) as caught:
        read(reported, place="trace.jsonl: line 7")
    assert caught.value.field == field
    assert caught.value.place.startswith("trace.jsonl: line 7")
    assert caught.value.remedy


def test_a_whole_float_is_a_count() -> None:
    assert Usage.from_openai({"prompt_tokens": 12.0}) == Usage(input=12)


@pytest.mark.parametrize(
    ("reported", "tier"),
    [
        ({"service_tier": "Priority"}, "priority"),
        ({"service_tier": "batch", "input_tokens": 1}, "batch"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"traffic_type": "TrafficType.ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"input_token_details": {"cache_read": 5}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_service_tier_is_reported_where_the_shape_has_it(reported: Any, tier: str | None) -> None:
    assert service_tier(reported) == tier


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 3))
def test_a_plain_anthropic_usage_reads_as_any_other(
    a: int, b: int, short: int, long: int, out: int, found: int
) -> None:
    reported = {
        "input_tokens": a,
        "cache_read_input_tokens": b,
        "cache_creation_input_tokens": short + long,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": out,
        "server_tool_use": {"web_search_requests": found},
    }
    expected = Usage(input=a, cache_read=b, cache_write_5m=short, cache_write_1h=long, output=out, web_searches=found)
    assert Usage.from_anthropic(reported) == expected
    assert Usage.from_anthropic(reported | {"output_tokens": float(out)}) == expected


@pytest.mark.parametrize(
    ("reported", "region"),
    [
        ({"inference_geo": "us"}, "us"),
        ({"inference_geo": "EU"}, "eu"),
        ({"inference_geo": "global"}, None),
        ({"inference_geo": "not_available"}, None),
        ({"inference_geo": "realtime_ga_only"}, None),  # a name of prices, and no region
        ({"inference_geo": 1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_region_is_reported_where_prices_may_depend_on_it(reported: Any, region: str | None) -> None:
    assert service_region(reported) == region
