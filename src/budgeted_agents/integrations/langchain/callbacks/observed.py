"""Quoting a call of a chat model that is only seen from outside, by a callback: it can be refused, not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from msgspec import Struct

from budgeted_agents.estimate import HistoryCounter
from budgeted_agents.governor import USUAL_LIMIT, ModelCall, Quote
from budgeted_agents.integrations.langchain.calls.introspect import EXTRA_BODY, LIMIT_FIELDS, highest_limit, limit_in
from budgeted_agents.integrations.langchain.calls.messages import (
    CACHE_CONTROL,
    SCHEMA_FIELDS,
    SEARCH,
    blocks_of,
    cache_write,
    counter,
    modalities,
    schema_texts,
    searches_allowed,
)
from budgeted_agents.integrations.langchain.calls.quoting import REGION, UNPRICED, price_of, usual_answer
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import landing_budgets
from budgeted_agents.prices import Price

_METADATA = ("ls_model_name", "ls_provider", "ls_max_tokens")
_PARAMETERS = ("model_name", "model", "_type", "n", "service_tier", "speed", REGION, EXTRA_BODY, *LIMIT_FIELDS)
"""What is read of a call's metadata and parameters, besides its tools."""

_MOST_MODELS = 256
"""Models, by name and parameters, remembered of one policy."""


class Observed(Struct, frozen=True, gc=False):
    """A call as it is, with its price.

    Attributes:
        call: what the governor decides about.
        price: of the model.
        quote: the call's one quote.
        longest: the most output tokens the answer may have. The quote holds fewer where only what is expected is held.
        unpriced: whether no price is known, and none is needed.
    """

    call: ModelCall
    price: Price
    quote: Quote
    longest: int
    unpriced: bool


def observe(
    governance: Governance,
    messages: Sequence[BaseMessage],
    metadata: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    expected: bool = False,
) -> Observed:
    """The call as it is: one tier, its worst case by its own output limit or the model's longest answer.

    Args:
        governance: what governs the call.
        messages: the prompt.
        metadata, params: of the call, as langchain-core hands them to callbacks.
        expected: whether to hold an answer of the length expected here instead of the longest one.

    Raises:
        UnknownPrice: the model has no known price, and some budget counts money.
    """
    model = _model(governance, metadata, params)
    name, price = model.name, model.price
    schemas = [] if SCHEMA_FIELDS.isdisjoint(params) else schema_texts(params)
    named = "".join(schemas)
    tally = model.counter.count(messages, schemas)
    estimate = tally.estimate(name) if tally.images else tally.tokens
    bound = governance.meter.margins.bound(name, estimate)
    cache: Any = None
    kinds: tuple[str, ...] = ()
    if tally.rich or CACHE_CONTROL in params or CACHE_CONTROL in named:
        blocks = blocks_of(messages)
        cache, kinds = cache_write(blocks, params), modalities(blocks)
    base, rate = price.worst_case(bound, cache, model.service_tier, kinds)
    if SEARCH in named and (searches := searches_allowed(params)):
        base += price.search_cost(searches)
    attribution = governance.attribution(metadata)
    held = min(model.longest, usual_answer(governance, attribution, name)) if expected else model.longest
    quote = Quote(0, name, model.model_class, bound, estimate, base, rate * model.answers, held)
    call = ModelCall(attribution, (quote,), held, clampable=False, landing=landing_budgets())
    return Observed(call, price, quote, model.longest, model.unpriced)


class ObservedModel(Struct, frozen=True):
    """What is the same for every call of a model with these parameters.

    Attributes:
        name: the model's, as its price is looked up.
        price: of the model, by the price book of this ``edition``.
        model_class: the class the policy puts it in.
        counter: counts its prompts.
        longest: the most output tokens an answer may have; ``answers`` how many are asked for.
        unpriced: whether no price is known, and none is needed.
    """

    name: str
    price: Price
    edition: object
    model_class: str | None
    counter: HistoryCounter[BaseMessage]
    longest: int
    answers: int
    service_tier: str | None
    unpriced: bool


def _model(governance: Governance, metadata: Mapping[str, Any], params: Mapping[str, Any]) -> ObservedModel:
    """The model that is called, looked up by all that is read of a call's metadata and parameters."""
    models = governance.meter.models
    key = (*map(metadata.get, _METADATA), *map(params.get, _PARAMETERS))
    try:
        known: ObservedModel | None = models.get(key)
    except TypeError:  # a parameter that is no name and no number: nothing to remember it by
        return _looked_up(governance, metadata, params)
    if known is None or known.edition is not governance.meter.prices.edition:
        if len(models) >= _MOST_MODELS:
            models.clear()
        known = models[key] = _looked_up(governance, metadata, params)
    return known


def _looked_up(governance: Governance, metadata: Mapping[str, Any], params: Mapping[str, Any]) -> ObservedModel:
    """Raises:
    UnknownPrice: the model has no known price, and some budget counts money.
    """
    edition = governance.meter.prices.edition  # first, so that a change of prices meanwhile shows the next time
    name, provider = _named(metadata, params)
    region = params.get(REGION)
    price = price_of(governance, name, provider, region if isinstance(region, str) else None)
    answers, tier = params.get("n"), params.get("service_tier") or params.get("speed")
    return ObservedModel(
        name,
        price,
        edition,
        governance.meter.policy.model_class(name),
        counter(name),
        _limit(metadata, params) or price.max_output_tokens or USUAL_LIMIT,
        answers if isinstance(answers, int) and answers > 1 else 1,
        tier if isinstance(tier, str) else None,
        price.source == UNPRICED,
    )


def _named(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, str | None]:
    names = (metadata.get("ls_model_name"), params.get("model_name"), params.get("model"), params.get("_type"))
    name = next((name for name in names if isinstance(name, str) and name), "unknown model")
    provider = metadata.get("ls_provider")
    return name.removeprefix("models/"), None if "/" in name else provider


def _limit(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> int | None:
    """The highest limit named: which of several a class sends is its own affair. One added to the request as it is
    sent wins."""
    if (limit := limit_in(params.get(EXTRA_BODY))) is not None:
        return limit
    return highest_limit((*map(params.get, LIMIT_FIELDS), metadata.get("ls_max_tokens")))
