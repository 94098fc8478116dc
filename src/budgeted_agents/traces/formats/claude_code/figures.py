"""The usage of a message: its tokens, and the tier and the region they are priced at."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec

from budgeted_agents.usage import Usage, iterations, region_of, service_region
from budgeted_agents.usage.counts import MAX_TOKENS

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class _Lifetimes(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: _Count
    ephemeral_1h_input_tokens: _Count


class _Searches(msgspec.Struct, gc=False):
    web_search_requests: _Count = 0


class _Iteration(msgspec.Struct, gc=False):
    type: str = ""


class _Figures(msgspec.Struct, gc=False):
    """What nearly every usage looks like. To read it by type takes a third of the time."""

    input_tokens: _Count
    cache_creation_input_tokens: _Count
    cache_read_input_tokens: _Count
    cache_creation: _Lifetimes
    output_tokens: _Count
    server_tool_use: _Searches | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    iterations: list[_Iteration] | None = None


_ANSWER = "message"
"""The iterations whose tokens are in the totals. Those of other kinds were billed beside them."""

_FIGURES = msgspec.json.Decoder(_Figures)
ANY = msgspec.json.Decoder(dict[str, Any])


class Figures(NamedTuple):
    """What a message used.

    Attributes:
        usage: its tokens.
        service_tier: the service tier, or fast mode, which has prices of its own; empty if it is the standard one.
        region: where it was served, if it cannot have been anywhere.
        advice: models that the answering one asked on the way, at their own prices, and what each used.
    """

    usage: Usage
    service_tier: str
    region: str
    advice: tuple[tuple[str, Usage], ...] = ()


def figures(usage: msgspec.Raw, place: str) -> Figures:
    """Tokens, and what a price may depend on.

    Raises:
        InvalidUsage: a count is negative, absurd or no whole number.
        ValueError, RecursionError: it is no JSON object.
    """
    try:
        found = _FIGURES.decode(usage)
    except (ValueError, RecursionError):
        return _of_any(ANY.decode(usage), place)
    written = found.cache_creation
    short, long = written.ephemeral_5m_input_tokens, written.ephemeral_1h_input_tokens
    has_more = found.iterations and any(each.type != _ANSWER for each in found.iterations)
    if has_more or short + long != found.cache_creation_input_tokens:
        return _of_any(ANY.decode(usage), place)
    searches = found.server_tool_use.web_search_requests if found.server_tool_use else 0
    counts = Usage(
        input=found.input_tokens,
        cache_read=found.cache_read_input_tokens,
        cache_write_5m=short,
        cache_write_1h=long,
        output=found.output_tokens,
        web_searches=searches,
    )
    return Figures(counts, _tier(found.speed, found.service_tier), region_of(found.inference_geo) or "")


def _of_any(usage: dict[str, Any], place: str) -> Figures:
    tier = _tier(usage.get("speed"), usage.get("service_tier"))
    advice = tuple(
        (str(each.get("model") or ""), Usage.from_anthropic(each, place=f"{place}: advice"))
        for each in iterations(usage, "advisor_message")
    )
    return Figures(Usage.from_anthropic(usage, place=place), tier, service_region(usage) or "", advice)


def _tier(speed: Any, service_tier: Any) -> str:
    tier = "fast" if speed == "fast" else service_tier
    return tier if isinstance(tier, str) and tier != "standard" else ""
