"""LiteLLM: rows of its proxy's spend logs, and the standard logging payload that its callbacks and log buckets get.

Of all formats these two say most about who a call was for: team, organization, key, user, and the user's customer.
They also state the price that the proxy had for the model, which may be one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from budgeted_agents.prices import Price
from budgeted_agents.traces.call import CACHE_NOT_RECORDED, CLIENT_CACHE_HIT, NO_USAGE_RECORDED, Kind, TracedCall
from budgeted_agents.traces.documents import Record, read_each, records
from budgeted_agents.traces.fields import cost, mapping, mappings, names, text
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.stated_prices import stated_price
from budgeted_agents.traces.values import fingerprint, seconds, texts
from budgeted_agents.usage import Usage, region_of, service_region, service_tier

_SPEND_LOG = {"request_id", "spend", "startTime"}
_PAYLOAD = {"response_cost", "call_type"}
_ALSO_PRICES = {"litellm_provider", "tiered_pricing", "provider_specific_entry", "web_search_billing_unit"}
"""What makes up a price beside what has "cost" or "multiplier" in its name."""

_LONGEST_NAME = 100
_MOST_PRICES = 1_000
_LARGEST_SHARE = 100
_PRICE_SOURCE = "LiteLLM's log"
_ORDINARY_TIERS = ("", "auto", "default", "standard")
_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


class LiteLLM:
    """Rows of ``LiteLLM_SpendLogs`` and standard logging payloads."""

    name = "litellm"
    about = "LiteLLM spend logs and standard logging payloads (JSON, an array of it, or JSON lines)"

    def detect(self, source: Source) -> bool:
        """Whether the first record has the columns of either."""
        keys = source.outline
        return keys >= _SPEND_LOG or (keys >= _PAYLOAD and not keys.isdisjoint(("startTime", "model_group")))

    def read(self, source: Source) -> Iterator[TracedCall]:
        """One call a record."""
        problems = source.problems
        prices = _LoggedPrices(problems)
        return read_each(records(source), lambda line, record: _calls(record, prices, problems, line), problems)


FORMAT = LiteLLM()


class _LoggedPrices:
    """Prices that the proxy wrote down with its calls, each compiled once."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._known: dict[tuple[str, str, Decimal | None], Price | None] = {}

    def of(self, record: Record, metadata: Record, region: str, line: int) -> Price | None:
        """The price that the proxy had for a call; None if it had none, or wrote down what is none."""
        found = mapping(record.get("model_map_information")) or mapping(metadata.get("model_map_information"))
        fields = {name: value for name, value in mapping(found.get("model_map_value")).items() if _tells_price(name)}
        if not fields:
            return None
        factor = _factor(_basis(record, metadata))
        key = (fingerprint(fields), region, factor)
        if key not in self._known:
            if len(self._known) >= _MOST_PRICES:
                self._known.clear()
            model = text(found.get("model_map_key"))
            self._known[key] = stated_price(model, fields, _PRICE_SOURCE, self._problems, line, region, factor)
        return self._known[key]


def _tells_price(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and ("cost" in name or "multiplier" in name or name in _ALSO_PRICES)


def _calls(record: Record, prices: _LoggedPrices, problems: Problems, line: int) -> Iterator[TracedCall]:
    metadata = mapping(record.get("metadata"))
    name = text(record.get("id"), record.get("request_id"))
    if not name:
        problems.skip("has neither id nor request_id; it is skipped", line)
        return
    call_type = text(record.get("call_type"))
    kind = _kind(call_type)
    usage, flags = _usage(record, metadata, f"usage of {name}")
    region = _region(record, metadata)
    yield TracedCall(
        id=name,
        session=text(record.get("session_id"), record.get("trace_id"), name),
        kind=kind,
        trace=text(record.get("trace_id")),
        model="" if kind == "tool" else text(record.get("model")),
        model_asked=text(record.get("model_group")),
        provider=text(record.get("custom_llm_provider")),
        usage=usage,
        service_tier=_tier(record, metadata),
        region=region,
        recorded_cost=_recorded(record, problems, line),
        logged_price=prices.of(record, metadata, region, line),
        started_at=seconds(record.get("startTime")),
        ended_at=seconds(record.get("endTime")),
        node=text(record.get("agent_id")),
        tool=text(record.get("mcp_namespaced_tool_name"), record.get("model")) if kind == "tool" else "",
        tools=tuple(_tools(record)),
        attribution=_attribution(record, metadata),
        flags=flags if kind != "tool" else (),
        error=_error(record, metadata),
        line=line,
    )


def _kind(call_type: str) -> Kind:
    if "embedding" in call_type:
        return "embedding"
    return "tool" if "mcp_tool" in call_type else "model"


def _usage(record: Record, metadata: Record, place: str) -> tuple[Usage, tuple[str, ...]]:
    """The usage that the provider reported, where the record has it, else its three sums."""
    reported = mapping(metadata.get("usage_object"))
    sums = {name: record[name] for name in _TOKENS if record.get(name) is not None}
    usage = Usage.from_litellm(reported or sums, place=place)
    if _is_cache_hit(record):
        return usage, (CLIENT_CACHE_HIT,)
    if not usage.total_tokens:
        return usage, (NO_USAGE_RECORDED,)
    return usage, () if reported else (CACHE_NOT_RECORDED,)


def _is_cache_hit(record: Record) -> bool:
    """Spend logs say it in words, and ``None`` where the cache is off."""
    return str(record.get("cache_hit")).lower() == "true"


def _recorded(record: Record, problems: Problems, line: int) -> Decimal | None:
    return cost(record["spend"] if "spend" in record else record.get("response_cost"), problems, line)


def _tier(record: Record, metadata: Record) -> str:
    """The service tier, or Claude's fast mode, where they have prices of their own."""
    asked = mapping(record.get("model_parameters")).get("service_tier")
    reported = mapping(metadata.get("usage_object"))
    tier = "fast" if reported.get("speed") == "fast" else service_tier(reported) or text(asked)
    return "" if tier in _ORDINARY_TIERS else tier


def _basis(record: Record, metadata: Record) -> Record:
    """How the proxy came to its cost."""
    return mapping(record.get("cost_breakdown")) or mapping(metadata.get("cost_breakdown"))


def _factor(basis: Record) -> Decimal | None:
    """What the proxy multiplied its price by: less a discount, plus a margin. None if by nothing."""
    factor = (1 - _share(basis.get("discount_percent"))) * (1 + _share(basis.get("margin_percent")))
    return factor if factor > 0 and factor != 1 else None


def _share(value: Any) -> Decimal:
    """0.05 is 5%; what makes no sense is nothing."""
    return Decimal(str(value)) if type(value) in (int, float) and 0 < value < _LARGEST_SHARE else Decimal()


def _region(record: Record, metadata: Record) -> str:
    """Where it was served: as Claude says, else as the proxy priced it."""
    basis = _basis(record, metadata)
    priced = region_of(basis.get("data_residency")) or region_of(basis.get("vertex_location"))
    return service_region(mapping(metadata.get("usage_object"))) or priced or ""


def _tools(record: Record) -> Iterator[tuple[str, str]]:
    for choice in mappings(mapping(record.get("response")).get("choices")):
        for asked in mappings(mapping(choice.get("message")).get("tool_calls")):
            function = mapping(asked.get("function"))
            if tool := text(function.get("name")):
                yield tool, fingerprint(function.get("arguments"))


def _attribution(record: Record, metadata: Record) -> Mapping[str, str]:
    key = text(metadata.get("user_api_key_alias"), metadata.get("user_api_key_hash"), record.get("api_key"))
    tags = record.get("request_tags")
    return texts(
        tenant=text(
            metadata.get("user_api_key_team_alias"), metadata.get("user_api_key_team_id"), record.get("team_id")
        ),
        organization=text(metadata.get("user_api_key_org_id"), record.get("organization_id")),
        key="" if key.startswith("sk-") else key,  # a hash, unless somebody logged what they should not
        user=text(metadata.get("user_api_key_user_id"), record.get("user")),
        end_user=text(record.get("end_user"), metadata.get("user_api_key_end_user_id")),
        project=text(metadata.get("user_api_key_project_id")),
        tags=names(tags),
    )


def _error(record: Record, metadata: Record) -> str:
    if record.get("status") != "failure":
        return ""
    information = mapping(record.get("error_information")) or mapping(metadata.get("error_information"))
    return text(information.get("error_class"), "failure")
