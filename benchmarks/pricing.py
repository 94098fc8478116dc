"""Microseconds it takes to price one call, beside LiteLLM pricing the same usage in the same run.

    python -m benchmarks.pricing

The usage has every token class, the model has thresholds and service tiers. The goal is at most 3 us.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import process_time

from budgeted_agents.prices import PriceBook
from budgeted_agents.usage import Usage

MODEL = "gpt-5.6"
TIER = "priority"
GOAL_US = 3.0
USAGE = Usage(
    input=250_000,
    cache_read=30_000,
    cache_write_5m=2000,
    cache_write_1h=1000,
    audio_input=500,
    image_input=600,
    output=4000,
    reasoning=9000,
    audio_output=50,
    image_output=60,
    web_searches=2,
)
REPORTED = {
    "input_tokens": 284_100,
    "output_tokens": 13_110,
    "total_tokens": 297_210,
    "input_token_details": {"cache_read": 30_000, "cache_creation": 3000, "audio": 500},
    "output_token_details": {"reasoning": 9000, "audio": 50},
}


def main() -> None:
    """Print one line for each way to price; leave with 1 if the goal is missed."""
    price = PriceBook.default().price(MODEL)
    cost = _microseconds(lambda: price.cost(USAGE, TIER), 100_000)
    lines = {
        "Price.cost, every class and a tier": cost,
        "Price.worst_case": _microseconds(lambda: price.worst_case(284_100, "1h", TIER), 100_000),
        "Usage.from_langchain": _microseconds(lambda: Usage.from_langchain(REPORTED), 20_000),
        "PriceBook.price, known model": _microseconds(lambda: PriceBook.default().price(MODEL), 100_000),
        "litellm.cost_per_token": _microseconds(_litellm_pricing(), 1000),
    }
    for name, microseconds in lines.items():
        sys.stdout.write(f"{name:40} {microseconds:9.2f} us  {microseconds / cost:8.1f} x\n")
    sys.exit(cost > GOAL_US)


def _microseconds(call: Callable[[], object], times: int) -> float:
    """CPU time of one call: the best of five rounds, so that a busy machine does not decide."""
    rounds = []
    for _ in range(5):
        start = process_time()
        for _ in range(times):
            call()
        rounds.append(process_time() - start)
    return min(rounds) / times * 1e6


def _litellm_pricing() -> Callable[[], object]:
    """The same usage priced by LiteLLM, which is imported only here because that takes seconds."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from litellm.types import utils

    usage = utils.Usage(
        prompt_tokens=USAGE.prompt_tokens,
        completion_tokens=USAGE.completion_tokens,
        total_tokens=USAGE.total_tokens,
        prompt_tokens_details=utils.PromptTokensDetailsWrapper(
            cached_tokens=USAGE.cache_read,
            cache_creation_tokens=USAGE.cache_write_5m + USAGE.cache_write_1h,
            audio_tokens=USAGE.audio_input,
            image_tokens=USAGE.image_input,
        ),
        completion_tokens_details=utils.CompletionTokensDetailsWrapper(
            reasoning_tokens=USAGE.reasoning, audio_tokens=USAGE.audio_output, image_tokens=USAGE.image_output
        ),
    )
    return lambda: litellm.cost_per_token(
        model=MODEL, custom_llm_provider="openai", usage_object=usage, service_tier=TIER
    )


if __name__ == "__main__":
    main()
