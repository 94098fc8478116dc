"""Quoting a call of a chat model that is only seen from outside, by a callback: it can be refused, not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from budgeted_agents.governor import ModelCall, Quote
from budgeted_agents.integrations.langchain.governance import Governance, landing_budgets
from budgeted_agents.integrations.langchain.introspect import LIMIT_FIELDS
from budgeted_agents.integrations.langchain.messages import cache_write, count, modalities, schema_texts
from budgeted_agents.integrations.langchain.quoting import UNPRICED, USUAL_LIMIT, Quoted, price_of


def observe(
    governance: Governance, messages: Sequence[BaseMessage], metadata: Mapping[str, Any], params: Mapping[str, Any]
) -> Quoted:
    """The call as it is: one tier, its worst case by its own output limit or the model's longest answer.

    Raises:
        UnknownPrice: the model has no known price, and some budget counts money.
    """
    name, provider = _named(metadata, params)
    price = price_of(governance, name, provider)
    estimate = count(name, messages, schema_texts(params))
    bound = governance.meter.margins.bound(name, estimate)
    tier = params.get("service_tier")
    base, rate = price.worst_case(bound, cache_write(messages), tier, modalities(messages))
    limit = _limit(metadata, params) or price.max_output_tokens or USUAL_LIMIT
    answers = params.get("n")
    quote = Quote(
        tier=0,
        model=name,
        model_class=governance.meter.policy.model_class(name),
        input_tokens=bound,
        estimate=estimate,
        base=base,
        rate=rate * (answers if isinstance(answers, int) and answers > 1 else 1),
        output_limit=limit,
    )
    attribution = governance.attribution(metadata)
    call = ModelCall(attribution, (quote,), limit, clampable=False, landing=landing_budgets())
    return Quoted(call, (price,), price.source == UNPRICED)


def _named(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, str | None]:
    names = (metadata.get("ls_model_name"), params.get("model_name"), params.get("model"), params.get("_type"))
    name = next((name for name in names if isinstance(name, str) and name), "unknown model")
    provider = metadata.get("ls_provider")
    return name.removeprefix("models/"), None if "/" in name else provider


def _limit(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> int | None:
    values = [params.get(name) for name in LIMIT_FIELDS] + [metadata.get("ls_max_tokens")]
    return next((value for value in values if isinstance(value, int) and value > 0), None)
