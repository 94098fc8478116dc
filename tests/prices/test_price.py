"""What one model's calls cost, to the nano-USD, and the bound that a reservation rests on."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.money import NANO
from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.prices.bundled import bundled_list
from budgeted_agents.usage import Usage

PRICED = tuple(name for name in bundled_list()[0] if name in PriceBook.default())
EVERY_KIND = (
    "gpt-5.6",
    "claude-opus-4-6",
    "gemini/gemini-2.5-flash",
    "dashscope/qwen-plus-2025-07-28",
    "xai/grok-4.20-0309-reasoning",
    "databricks/databricks-gemma-3-12b",
    "perplexity/pplx-7b-online",
    "text-embedding-3-small",
)
SIZES = st.one_of(
    st.integers(0, 2_000_000),
    st.sampled_from([n + d for n in (32_000, 128_000, 200_000, 256_000, 272_000) for d in (-1, 0, 1)]),
)
TIERS = st.sampled_from([None, "standard", "flex", "priority", "batch", "fast", "FLEX", "no such tier"])


def price(**fields: Any) -> Price:
    return PriceBook({"m": fields}).price("m")


def test_a_call_is_rounded_up_once_and_not_for_each_class() -> None:
    tiny = price(input_cost_per_token="0.0000000004", output_cost_per_token="0.0000000004")
    assert tiny.cost(Usage(input=1, output=1)) == 1
    assert tiny.cost(Usage(input=5)) == 2
    assert tiny.cost(Usage(input=5, output=1)) == 3
    assert tiny.cost(Usage()) == 0


def test_known_prices_give_known_costs() -> None:
    gpt = PriceBook.default().price("gpt-4o")
    assert gpt.cost(Usage(input=1_000_000)) == Decimal("2.50") * NANO
    assert gpt.cost(Usage(output=1_000_000)) == Decimal("10.00") * NANO
    sonnet = PriceBook.default().price("claude-sonnet-4-5")
    assert sonnet.cost(Usage(cache_write_1h=100_000)) == Decimal("0.60") * NANO


def test_each_class_has_its_own_rate() -> None:
    every = price(
        input_cost_per_token="1e-9",
        cache_read_input_token_cost="2e-9",
        cache_creation_input_token_cost="3e-9",
        cache_creation_input_token_cost_above_1hr="4e-9",
        input_cost_per_audio_token="5e-9",
        input_cost_per_image_token="6e-9",
        output_cost_per_token="7e-9",
        output_cost_per_reasoning_token="8e-9",
        output_cost_per_audio_token="9e-9",
        output_cost_per_image_token="10e-9",
    )
    assert every.cost(Usage(1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9)) == 10_987_654_321


def test_a_class_without_a_rate_costs_what_plain_tokens_cost() -> None:
    plain = price(input_cost_per_token="1e-9", output_cost_per_token="2e-9")
    assert plain.cost(Usage(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)) == 6 * 1 + 4 * 2


def test_a_large_prompt_puts_every_token_at_the_rate_above_the_threshold() -> None:
    tiered = price(
        input_cost_per_token="1e-9",
        input_cost_per_token_above_200k_tokens="2e-9",
        output_cost_per_token="3e-9",
        output_cost_per_token_above_200k_tokens="5e-9",
    )
    assert tiered.cost(Usage(input=199_999, cache_read=1, output=10)) == 200_000 + 30
    assert tiered.cost(Usage(input=200_000, cache_read=1, output=10)) == 400_002 + 50


def test_xai_bills_the_higher_rate_from_the_threshold_on() -> None:
    grok = price(
        litellm_provider="xai",
        input_cost_per_token="1e-9",
        input_cost_per_token_above_128k_tokens="2e-9",
        output_cost_per_token=0,
    )
    assert grok.cost(Usage(input=127_999)) == 127_999
    assert grok.cost(Usage(input=128_000)) == 256_000


def test_a_service_tier_uses_its_rates_and_the_standard_rate_for_the_rest() -> None:
    tiered = price(
        input_cost_per_token="4e-9",
        input_cost_per_token_flex="2e-9",
        output_cost_per_token="8e-9",
        cache_read_input_token_cost="1e-9",
    )
    usage = Usage(input=10, cache_read=10, output=10)
    assert tiered.cost(usage) == tiered.cost(usage, "standard") == tiered.cost(usage, "default") == 130
    assert tiered.cost(usage, "flex") == tiered.cost(usage, "FLEX") == 110
    assert tiered.cost(usage, "priority") == 130


def test_a_batch_discount_is_never_assumed() -> None:
    unlisted = price(input_cost_per_token="4e-9", output_cost_per_token="8e-9")
    listed = price(input_cost_per_token="4e-9", input_cost_per_token_batches="2e-9", output_cost_per_token="8e-9")
    assert unlisted.cost(Usage(input=1, output=1), "batch") == 12
    assert listed.cost(Usage(input=1, output=1), "batch") == 10


def test_anthropics_fast_mode_multiplies_every_rate() -> None:
    fast = price(
        litellm_provider="anthropic",
        input_cost_per_token="4e-9",
        output_cost_per_token="8e-9",
        provider_specific_entry={"fast": Decimal("1.5")},
    )
    assert fast.cost(Usage(input=1, output=1), "fast") == 18


def test_web_searches_and_requests_are_charged_by_number() -> None:
    searching = price(
        input_cost_per_token=0,
        output_cost_per_token=0,
        input_cost_per_request="0.005",
        search_context_cost_per_query={"search_context_size_medium": "0.01"},
    )
    assert searching.cost(Usage()) == 5_000_000
    assert searching.cost(Usage(web_searches=3)) == 35_000_000
    assert searching.prices_searches


@pytest.mark.parametrize(("listed", "known"), [({}, False), ({"search_context_size_medium": 0}, True)])
def test_a_search_that_costs_nothing_is_told_from_one_at_no_known_price(listed: dict[str, int], known: bool) -> None:
    found = price(input_cost_per_token=0, output_cost_per_token=0, search_context_cost_per_query=listed)
    assert found.prices_searches is known
    assert found.search_cost(3) == 0


def test_free_is_a_price() -> None:
    local = PriceBook.default().price("ollama/llama3")
    assert local.cost(Usage(input=10**6, output=10**6)) == 0
    assert local.worst_case(10**6) == (0, 0)


def test_limits_come_from_the_list() -> None:
    gpt = PriceBook.default().price("gpt-4o")
    assert (gpt.max_input_tokens, gpt.max_output_tokens) == (128_000, 16_384)
    assert price(input_cost_per_token=0, output_cost_per_token=0).max_output_tokens is None


def test_unit_prices_fit_into_a_record_and_reproduce_the_cost() -> None:
    gpt = PriceBook.default().price("gpt-5.6")
    prices = json.loads(json.dumps(gpt.unit_prices(300_000, "priority")))
    usage = Usage(input=290_000, cache_read=10_000, output=77)
    total = sum(Decimal(prices[name]) * getattr(usage, name) for name in ("input", "cache_read", "output"))
    assert total * NANO == gpt.cost(usage, "priority")
    assert "reasoning" not in prices
    assert prices["input"] != gpt.unit_prices(1000, "priority")["input"]


def _within_bound(model: Price, usage: Usage, bound: int, tier: str | None, **asked: Any) -> bool:
    base, rate = model.worst_case(bound, service_tier=tier, **asked)
    return model.cost(usage, tier) <= base + math.ceil(usage.completion_tokens * rate / 1000)


@given(
    name=st.one_of(st.sampled_from(PRICED), st.sampled_from([n for n in EVERY_KIND if n in PRICED])),
    parts=st.tuples(SIZES, SIZES),
    slack=SIZES,
    output=st.integers(0, 10**6),
    reasoning=st.integers(0, 10**6),
    tier=TIERS,
)
def test_no_text_call_costs_more_than_its_worst_case(
    name: str, parts: tuple[int, int], slack: int, output: int, reasoning: int, tier: str | None
) -> None:
    usage = Usage(input=parts[0], cache_read=parts[1], output=output, reasoning=reasoning)
    assert _within_bound(PriceBook.default().price(name), usage, usage.prompt_tokens + slack, tier)


@given(name=st.sampled_from(PRICED), counts=st.tuples(*[SIZES] * 10), slack=SIZES, tier=TIERS)
def test_no_call_costs_more_than_its_worst_case_with_everything_asked_for(
    name: str, counts: tuple[int, ...], slack: int, tier: str | None
) -> None:
    usage = Usage(*counts)
    model = PriceBook.default().price(name)
    bound = usage.prompt_tokens + slack
    assert _within_bound(model, usage, bound, tier, cache_write="1h", modalities=("audio", "image"))


def test_the_worst_case_holds_forevery_model_of_the_list() -> None:
    usage = Usage(input=250_000, cache_read=30_000, output=1000, reasoning=1000)
    book = PriceBook.default()
    assert len(PRICED) > 3000
    for name in PRICED:
        assert _within_bound(book.price(name), usage, 280_000, None), name


def test_the_worst_case_is_tight() -> None:
    plain = price(input_cost_per_token="1e-9", output_cost_per_token="0.0000000003")
    assert plain.worst_case(1000) == (1000, 300)


def test_cache_writes_are_in_the_worst_case_only_when_asked_for() -> None:
    claude = PriceBook.default().price("claude-sonnet-4-5")
    bases = [claude.worst_case(1_000_000, lifetime)[0] for lifetime in (None, "5m", "1h")]
    assert bases == [3 * NANO, Decimal("3.75") * NANO, 6 * NANO]


def test_a_cache_that_writes_itself_is_always_in_the_worst_case() -> None:
    gpt = PriceBook.default().price("gpt-5.6")
    usage = Usage(cache_write_5m=100_000, output=10)
    assert gpt.writes_cache_unasked
    assert not PriceBook.default().price("claude-sonnet-4-5").writes_cache_unasked
    assert _within_bound(gpt, usage, 100_000, None)


def test_a_small_prompt_is_not_bounded_by_the_long_context_rate() -> None:
    tiered = price(
        input_cost_per_token="1e-9",
        input_cost_per_token_above_200k_tokens="2e-9",
        output_cost_per_token="3e-9",
        output_cost_per_token_above_200k_tokens="5e-9",
    )
    assert tiered.worst_case(200_000) == (200_000, 3000)
    assert tiered.worst_case(200_001) == (400_002, 5000)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"prompt_tokens": 1, "cache_write": "2h"}, "cache_write"),
        ({"prompt_tokens": 1, "modalities": ("video",)}, "modalities"),
        ({"prompt_tokens": 1, "modalities": "audio"}, "modalities"),
    ],
)
def test_a_worst_case_that_makes_no_sense_is_refused(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidUsage) as caught:
        PriceBook.default().price("gpt-4o").worst_case(**asked)
    assert caught.value.field == field


def test_the_worst_case_covers_smaller_prompts_at_a_dearer_rate() -> None:
    cheaper_above = price(
        input_cost_per_token="2e-9",
        input_cost_per_token_above_200k_tokens="1e-9",
        output_cost_per_token="5e-9",
        output_cost_per_token_above_200k_tokens="3e-9",
    )
    usage = Usage(input=200_000, output=10)
    assert _within_bound(cheaper_above, usage, 200_001, None)


def test_the_worst_case_covers_a_cache_read_that_costs_more_than_input() -> None:
    odd = price(input_cost_per_token="1e-9", cache_read_input_token_cost="3e-9", output_cost_per_token=0)
    assert odd.worst_case(1000) == (3000, 0)


def test_a_class_listed_at_zero_is_free_and_not_plain_input() -> None:
    free_cache = price(
        input_cost_per_token="1e-9",
        cache_read_input_token_cost=0,
        cache_creation_input_token_cost=0,
        output_cost_per_token="1e-9",
        output_cost_per_reasoning_token=0,
    )
    assert free_cache.cost(Usage(cache_read=9, cache_write_5m=9, cache_write_1h=9, reasoning=9)) == 0
