"""What one tier would cost for one call, from its price and its prompt. Pure."""

from __future__ import annotations

from collections.abc import Collection

from budgeted_agents.governor.call import Quote
from budgeted_agents.prices import Price
from budgeted_agents.prices.price import CacheWrite
from budgeted_agents.usage import Usage

USUAL_ANSWER, SHORT_ANSWER = 1024, 256
"""Output tokens of a usual answer where none is asked for: to begin with, and at least, once answers are known."""

USUAL_LIMIT = 16_384
"""Output limit taken for a model whose price row names none, in tokens."""


def usual_answer(longest: int | None) -> int:
    """How long an answer a node is likely to need, in tokens: twice its ``longest`` so far, so that a node of short
    answers is not stepped down to a cheaper model for the sake of a long one it never gives."""
    return USUAL_ANSWER if longest is None else min(max(2 * longest, SHORT_ANSWER), USUAL_ANSWER)


def output_limit(asked: int | None, price: Price) -> int:
    """Most output tokens that a call may ask of a model: what it asks for, or the model's longest answer."""
    most = price.max_output_tokens or USUAL_LIMIT
    return min(asked, most) if asked else most


def quoted(
    price: Price,
    *,
    tier: int,
    model: str,
    model_class: str | None,
    estimate: int,
    bound: int,
    limit: int,
    compared: bool,
    cached: int = 0,
    useful: int = 0,
    answers: int = 1,
    cache_write: CacheWrite | None = None,
    service_tier: str | None = None,
    modalities: Collection[str] = (),
    searches: int = 0,
    thinking: int = 0,
) -> Quote:
    """The quote of one tier.

    Args:
        price: the tier's price.
        tier, model, model_class: see ``Quote``.
        estimate: the likely number of input tokens; ``bound`` an upper bound on it.
        limit: most output tokens it may give.
        compared: whether there are other tiers to compare its likely cost with.
        cached: input tokens that its provider probably has in its prompt cache.
        useful: output tokens of a useful answer, without thinking.
        answers: how many answers are asked for at once.
        cache_write, service_tier, modalities: see ``Price.worst_case``.
        searches: web searches that the provider may run for it.
        thinking: output tokens that it is likely to think for.
    """
    base, rate = price.worst_case(bound, cache_write, service_tier, modalities)
    if searches:
        base += price.search_cost(searches)
    expected = 0
    if compared:
        cached = min(cached, estimate)
        likely = Usage(input=estimate - cached, cache_read=cached, output=min(thinking + useful, limit))
        expected = price.cost(likely, service_tier)
    return Quote(tier, model, model_class, bound, estimate, base, rate * answers, limit, expected, thinking)
