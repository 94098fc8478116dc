"""Every chat model of LiteLLM's list, over a grid of usages and service tiers, costs what LiteLLM's own code says.

Where it does not, one of `RULES` must say why, and prove it: after the rule has changed the row or the usage the way
LiteLLM does, the costs agree. A difference that no rule explains fails, and so does a rule that explains nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from budgeted_agents.errors import UnknownPrice
from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.prices.bundled import bundled_list
from budgeted_agents.prices.rows import Row
from budgeted_agents.usage import Usage

MEASURED_WITH = "litellm 1.110.2"
"""The list for which the counts below hold; with another one only "explained or not" is checked."""

PEAK = datetime(2026, 3, 4, 2, 0, tzinfo=UTC)
OFF_PEAK = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)

GRID = {
    "plain": Usage(input=1000, output=500),
    "cache read": Usage(input=1000, cache_read=3000, output=500),
    "cache write 5m": Usage(input=1000, cache_read=3000, cache_write_5m=700, output=500),
    "cache write 1h": Usage(input=1000, cache_read=3000, cache_write_5m=700, cache_write_1h=900, output=500),
    "reasoning": Usage(input=1000, output=500, reasoning=300),
    "audio": Usage(input=1000, audio_input=200, output=500, audio_output=60),
    "image": Usage(input=1000, image_input=200, output=500, image_output=60),
    "everything": Usage(1000, 3000, 700, 900, 50, 60, 500, 300, 40, 30),
    "above 100k": Usage(
        input=99_000, cache_read=2000, cache_write_5m=700, cache_write_1h=900, output=500, reasoning=300
    ),
    "above 128k": Usage(input=128_001, cache_read=2000, cache_write_5m=700, output=500, reasoning=300),
    "exactly 200k": Usage(input=200_000, output=500, reasoning=300),
    "above 200k": Usage(
        input=199_001, cache_read=2000, cache_write_5m=700, cache_write_1h=900, output=500, reasoning=300
    ),
    "exactly 272k": Usage(input=272_000, output=500),
    "above 272k": Usage(
        input=272_001, cache_read=2000, cache_write_5m=700, cache_write_1h=900, output=500, reasoning=300
    ),
    "above 512k": Usage(input=600_000, cache_read=2000, cache_write_5m=700, output=500, reasoning=300),
}


@dataclass(frozen=True)
class Case:
    """One call to be priced; rules return a changed one."""

    provider: str
    model: str
    row: Mapping[str, Any]
    usage: Usage
    tier: str | None

    def cost(self) -> int:
        return Price(Row(self.model, self.row, "test"), "test").cost(self.usage, self.tier)


@dataclass(frozen=True)
class Rule:
    """A reason why LiteLLM charges something else, as the change that makes us charge the same."""

    name: str
    applies: Callable[[Case], bool]
    change: Callable[[Case], Case]


def _without(case: Case, unwanted: Callable[[str], bool]) -> Case:
    return replace(case, row={key: value for key, value in case.row.items() if not unwanted(key)})


def _only_flat_prices(case: Case) -> Case:
    kept = (
        "input_cost_per_token",
        "cache_read_input_token_cost",
        "output_cost_per_token",
        "output_cost_per_reasoning_token",
    )
    return _without(case, lambda key: "cost" in key and key not in kept)


def _shorter_name(case: Case) -> Case:
    return replace(case, row=bundled_list()[0][case.model.removeprefix("perplexity/")])


def _smallest_size_class(case: Case) -> Case:
    return replace(case, row=bundled_list()[0]["together-ai-up-to-4b"])


def _long_writes_as_short(case: Case) -> Case:
    usage = case.usage
    return replace(
        case, usage=structs.replace(usage, cache_write_5m=usage.cache_write_5m + usage.cache_write_1h, cache_write_1h=0)
    )


def _modalities_as_text(case: Case) -> Case:
    usage = case.usage
    if "input_cost_per_audio_token_batches" not in case.row:
        usage = structs.replace(usage, input=usage.input + usage.audio_input, audio_input=0)
    if "input_cost_per_image_token_batches" not in case.row:
        usage = structs.replace(usage, input=usage.input + usage.image_input, image_input=0)
    usage = structs.replace(usage, output=usage.output + usage.audio_output, audio_output=0)
    return replace(case, usage=usage)


def _half_image_output(case: Case) -> Case:
    half = Decimal(str(case.row["output_cost_per_image_token"])) / 2
    return replace(case, row={**case.row, "output_cost_per_image_token": half})


def _short_context(case: Case) -> Case:
    read = "cache_read_input_token_cost"

    def is_passed_over(key: str) -> bool:
        own_rate = key.endswith("_batches") or (key.startswith(read) and f"{read}_batches" not in case.row)
        return "_above_" in key and "k_tokens" in key and not own_rate

    return _without(case, is_passed_over)


def _free_cache_reads(case: Case) -> Case:
    return replace(case, usage=structs.replace(case.usage, cache_read=0))


def _half_price(case: Case) -> Case:
    halves = {
        f"{key}_batches": Decimal(str(case.row[key])) / 2
        for key in ("input_cost_per_token", "output_cost_per_token")
        if f"{key}_batches" not in case.row
    }
    return replace(case, row={**case.row, **halves})


def _batch(case: Case) -> bool:
    return case.tier == "batch"


RULES = (
    Rule(
        "fireworks ignores the service tier",
        lambda case: case.provider == "fireworks_ai" and case.tier in ("priority", "fast"),
        lambda case: replace(case, tier=None),
    ),
    Rule(
        "perplexity's own models looked up by a shorter name",
        lambda case: case.model.startswith("perplexity/perplexity/") and case.model[11:] in bundled_list()[0],
        _shorter_name,
    ),
    Rule("perplexity prices only plain tokens", lambda case: case.provider == "perplexity", _only_flat_prices),
    Rule(
        "together size class misread",
        lambda case: case.provider == "together_ai" and case.model.startswith("together-ai-"),
        _smallest_size_class,
    ),
    Rule(
        "batch cache reads without a rate are free",
        lambda case: (
            _batch(case)
            and not any(key.startswith(("cache_read_", "input_cost_per_token_batches")) for key in case.row)
        ),
        _free_cache_reads,
    ),
    Rule("batch assumed at half price", _batch, _half_price),
    Rule("batch long context at short rate", _batch, _short_context),
    Rule("batch cache lifetime unused", _batch, _long_writes_as_short),
    Rule("batch modality at text rate", _batch, _modalities_as_text),
    Rule(
        "batch image output assumed at half price",
        lambda case: _batch(case) and "output_cost_per_image_token" in case.row,
        _half_image_output,
    ),
)

EXPLAINED: dict[str | None, dict[str, int]] = {
    None: {
        "perplexity prices only plain tokens": 123,
        "perplexity's own models looked up by a shorter name": 14,
        "together size class misread": 75,
    },
    "flex": {},
    "priority": {"fireworks ignores the service tier": 705},
    "fast": {"fireworks ignores the service tier": 705},
    "balanced": {},
    "ultrafast": {},
    "batch": {
        "batch cache reads without a rate are free": 9,
        "batch assumed at half price": 90,
        "batch long context at short rate": 76,
        "batch cache lifetime unused": 435,
        "batch modality at text rate": 46,
        "batch image output assumed at half price": 4,
    },
}
"""How many prices differ, by service tier and reason. `docs/prices.md` says more about each reason."""


@pytest.fixture(scope="module")
def litellm() -> Iterator[Any]:
    """LiteLLM, with its bundled list and without a word."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        logging.disable(logging.CRITICAL)
        import litellm

        litellm.suppress_debug_info = True
        yield litellm
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("tier", EXPLAINED)
def test_costs_agree_or_the_difference_is_explained(litellm: Any, tier: str | None) -> None:
    usages = {name: _litellm_usage(usage) for name, usage in GRID.items()}
    explained: Counter[str] = Counter()
    unexplained = []
    compared = 0
    with _billed_at(PEAK):
        for provider, row, price in _chat_models(tier):
            for name, usage in GRID.items():
                theirs = _litellm_cost(litellm, price.model, provider, usages[name], tier)
                compared += 1
                if _same(price.cost(usage, tier), theirs):
                    continue
                case, reasons = _as_litellm_does(Case(provider, price.model, row, usage, tier))
                explained.update(reasons)
                if not _same(case.cost(), theirs):
                    unexplained.append((price.model, name, price.cost(usage, tier), theirs, reasons))
    assert unexplained == []
    assert compared >= 15
    if bundled_list()[1] == MEASURED_WITH:
        assert dict(explained) == EXPLAINED[tier]


def test_web_searches_cost_the_listed_price_each_or_once_for_a_prompt(litellm: Any) -> None:
    usage = Usage(input=1000, output=500, web_searches=3)
    from litellm.types.utils import ServerToolUse

    theirs = _litellm_usage(usage).model_copy(update={"server_tool_use": ServerToolUse(web_search_requests=3)})
    compared = 0
    for provider, row, price in _chat_models(None):
        if provider in ("anthropic", "gemini", "groq", "vertex_ai") and row.get("search_context_cost_per_query"):
            assert _same(price.cost(usage), _litellm_cost(litellm, price.model, provider, theirs, None)), price.model
            compared += 1
    assert compared >= 80


def test_a_region_adds_the_listed_surcharge(litellm: Any) -> None:
    usage = GRID["cache write 5m"]
    theirs = _litellm_usage(usage)
    compared: Counter[str] = Counter()
    for provider, row, plain in _chat_models(None):
        where = _regional(provider, row)
        if where is None:
            continue
        region, told = where
        price = PriceBook.default().price(plain.model, provider, region)
        usage_there = theirs.model_copy(update={"inference_geo": region}) if provider == "anthropic" else theirs
        prompt, completion = litellm.cost_per_token(
            model=plain.model, custom_llm_provider=provider, usage_object=usage_there, **told
        )
        assert _same(price.cost(usage), (prompt + completion) * 1e9), plain.model
        assert price.cost(usage) > plain.cost(usage)
        compared[provider] += 1
    assert set(compared) == {"anthropic", "openai", "vertex_ai"}


def _regional(provider: str, row: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
    """A region in which the row costs more, and how LiteLLM is told."""
    if provider == "openai" and "regional_processing_uplift_multiplier_eu" in row:
        return "eu", {"data_residency": "eu"}
    if provider == "vertex_ai" and "regional_endpoint_uplift_multiplier" in row:
        return "europe-west1", {"vertex_location": "europe-west1"}
    if provider == "anthropic" and "us" in (row.get("provider_specific_entry") or {}):
        return "us", {}
    return None


def test_off_peak_hours_are_charged_at_the_listed_full_rate(litellm: Any) -> None:
    usage = GRID["cache read"]
    discounted = 0
    for provider, row, price in _chat_models(None):
        if row.get("off_peak_pricing"):
            with _billed_at(OFF_PEAK):
                theirs = _litellm_cost(litellm, price.model, provider, _litellm_usage(usage), None)
            assert theirs <= price.cost(usage)
            discounted += theirs < price.cost(usage)
    assert discounted >= 1


def test_rows_without_a_token_price_are_unknown_and_not_free() -> None:
    unpriced = [name for name, row in _chat_rows() if "input_cost_per_token" not in row and "tiered_pricing" not in row]
    assert len(unpriced) >= 1
    for name in unpriced:
        with pytest.raises(UnknownPrice):
            PriceBook.default().price(name)


def _chat_rows() -> list[tuple[str, Mapping[str, Any]]]:
    rows, _ = bundled_list()
    return [(name, row) for name, row in rows.items() if row.get("mode") in ("chat", "responses", "completion")]


def _chat_models(tier: str | None) -> Iterator[tuple[str, Mapping[str, Any], Price]]:
    """Provider, row and price of every model that the list prices for the tier, found by name as LiteLLM finds it."""
    rows, _ = bundled_list()
    book = PriceBook.default()
    suffix = {"fast": "_priority", "batch": "_batches"}.get(tier or "", f"_{tier}")
    for name, listed in _chat_rows():
        provider = _provider(listed["litellm_provider"])
        try:
            price = book.price(name, provider)
        except UnknownPrice:
            continue
        row = rows[price.model]
        own_fast = tier == "fast" and "fast" in (row.get("provider_specific_entry") or {})
        if tier is None or own_fast or any(key.endswith(suffix) for key in row):
            yield provider, row, price


def _provider(listed: str) -> str:
    """The provider LiteLLM wants to be told; rows also name families and API variants."""
    if listed.startswith("vertex_ai"):
        return "vertex_ai"
    return "bedrock" if listed == "bedrock_converse" else listed


def _litellm_usage(usage: Usage) -> Any:
    from litellm.types import utils

    prompt: dict[str, Any] = {
        "text_tokens": usage.input,
        "cached_tokens": usage.cache_read,
        "cache_creation_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "audio_tokens": usage.audio_input,
        "image_tokens": usage.image_input,
    }
    if usage.cache_write_1h:
        prompt["cache_creation_token_details"] = utils.CacheCreationTokenDetails(
            ephemeral_5m_input_tokens=usage.cache_write_5m, ephemeral_1h_input_tokens=usage.cache_write_1h
        )
    return utils.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=utils.PromptTokensDetailsWrapper(**prompt),
        completion_tokens_details=utils.CompletionTokensDetailsWrapper(
            text_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            audio_tokens=usage.audio_output,
            image_tokens=usage.image_output,
        ),
    )


def _litellm_cost(litellm: Any, model: str, provider: str, usage: Any, tier: str | None) -> float:
    """LiteLLM's cost in nano-USD. It has batch prices only for batch retrieval, and Anthropic's fast mode in usage."""
    told: dict[str, Any] = {"call_type": "retrieve_batch"} if tier == "batch" else {"service_tier": tier}
    if provider == "anthropic" and tier == "fast":
        usage = usage.model_copy(update={"speed": "fast"})
        told = {}
    response = litellm.ModelResponse(model=model, usage=usage)
    cost = litellm.completion_cost(completion_response=response, model=model, custom_llm_provider=provider, **told)
    return float(cost) * 1e9


def _same(ours: int, theirs: float) -> bool:
    """Equal to the nano-USD, ours rounded up; LiteLLM's floats carry noise in the last places."""
    return -1e-3 - theirs * 1e-12 <= ours - theirs <= 1 + 1e-3 + theirs * 1e-12


def _as_litellm_does(case: Case) -> tuple[Case, list[str]]:
    """The case after every rule that changes its cost, and the names of those rules."""
    reasons = []
    for rule in RULES:
        if rule.applies(case):
            changed = rule.change(case)
            if changed.cost() != case.cost():
                reasons.append(rule.name)
            case = changed
    return case, reasons


@contextmanager
def _billed_at(moment: datetime) -> Iterator[None]:
    from litellm._internal_context import pinned_billing_time

    with pinned_billing_time(moment):
        yield
