"""Quoting a call of a chat model that is only seen from outside, by a callback: it can be refused, not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from budgeted_agents.governor import ModelCall, Quote
from budgeted_agents.integrations.langchain.governance import Governance, landing_budgets
from budgeted_agents.integrations.langchain.introspect import LIMIT_FIELDS
from budgeted_agents.integrations.langchain.messages import blocks_of, cache_write, count, modalities, schema_texts
from budgeted_agents.integrations.langchain.quoting import UNPRICED, USUAL_LIMIT, price_of, usual_answer
from budgeted_agents.prices import Price


@dataclass(frozen=True, slots=True)
class Observed:
    """A call as it is, with its price.

    Attributes:
        call: what the governor decides about.
        price: of the model.
        longest: the most output tokens the answer may have. The call's one quote holds fewer where only what is
            expected is held.
    """

    call: ModelCall
    price: Price
    longest: int

    @property
    def quote(self) -> Quote:
        return self.call.quotes[0]

    @property
    def unpriced(self) -> bool:
        return self.price.source == UNPRICED


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
    name, provider = _named(metadata, params)
    price = price_of(governance, name, provider)
    estimate = count(name, messages, schema_texts(params))
    bound = governance.meter.margins.bound(name, estimate)
    tier = params.get("service_tier")
    blocks = blocks_of(messages)
    base, rate = price.worst_case(bound, cache_write(blocks), tier, modalities(blocks))
    longest = _limit(metadata, params) or price.max_output_tokens or USUAL_LIMIT
    attribution = governance.attribution(metadata)
    held = min(longest, usual_answer(governance, attribution)) if expected else longest
    answers = params.get("n")
    quote = Quote(
        tier=0,
        model=name,
        model_class=governance.meter.policy.model_class(name),
        input_tokens=bound,
        estimate=estimate,
        base=base,
        rate=rate * (answers if isinstance(answers, int) and answers > 1 else 1),
        output_limit=held,
    )
    call = ModelCall(attribution, (quote,), held, clampable=False, landing=landing_budgets())
    return Observed(call, price, longest)


def _named(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, str | None]:
    names = (metadata.get("ls_model_name"), params.get("model_name"), params.get("model"), params.get("_type"))
    name = next((name for name in names if isinstance(name, str) and name), "unknown model")
    provider = metadata.get("ls_provider")
    return name.removeprefix("models/"), None if "/" in name else provider


def _limit(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> int | None:
    """The highest limit named: which of several a class sends is its own affair."""
    values = [params.get(name) for name in LIMIT_FIELDS] + [metadata.get("ls_max_tokens")]
    return max((value for value in values if isinstance(value, int) and value > 0), default=None)
