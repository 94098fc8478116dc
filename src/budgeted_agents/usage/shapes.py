"""How each provider and framework writes down usage, turned into `Usage`'s disjoint classes.

Shapes differ in what their totals include. Where a shape's rule is known it is the default; where the numbers
contradict it (a cached count larger than the input that should include it, or a stated total that only adds up the
other way) the numbers win, because real traces mix both conventions and a wrong guess makes a cost negative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from budgeted_agents.usage.counts import MAX_TOKENS, Counts

_TIER_PREFIXES = ("priority", "flex")
_TIERED = {
    name: (name, *(f"{tier}_{name}" for tier in _TIER_PREFIXES))
    for name in ("cache_creation", "cache_read", "reasoning")
}
_LANGFUSE_CACHE_READ = (
    "input_cache_read",
    "input_cached_tokens",
    "cache_read_input_tokens",
    "prompt_details.cache_read",
)
_WRITTEN = frozenset({"cache_write", "cache_write_5m", "cache_write_1h"})
_TRAFFIC_TIERS = {"ON_DEMAND_PRIORITY": "priority", "FLEX": "flex", "ON_DEMAND_FLEX": "flex", "BATCH": "batch"}
_ANYWHERE = frozenset({"", "global", "not_available"})
"""What an ``inference_geo`` says that names no region."""
_REGION = re.compile(r"[a-z][a-z0-9-]{1,30}")


def openai_counts(usage: Any, place: str) -> dict[str, int]:
    """Chat completions and responses: totals include cached tokens, reasoning and audio."""
    top = Counts(usage, place)
    details = top.inner("prompt_tokens_details", "input_tokens_details")
    out_details = top.inner("completion_tokens_details", "output_tokens_details")
    return _disjoint(
        prompt=top.get("prompt_tokens", "input_tokens"),
        completion=top.get("completion_tokens", "output_tokens"),
        total=top.get("total_tokens"),
        cache_read=details.get("cached_tokens"),
        cache_write_5m=details.get("cache_write_tokens", "cache_creation_tokens"),
        audio_input=details.get("audio_tokens"),
        image_input=details.get("image_tokens"),
        reasoning=out_details.get("reasoning_tokens"),
        audio_output=out_details.get("audio_tokens"),
        image_output=out_details.get("image_tokens"),
    )


def anthropic_counts(usage: Any, place: str) -> dict[str, int]:
    """Anthropic: ``input_tokens`` excludes cache reads and writes; writes of unknown lifetime count as 5 minutes.

    What the provider spent on summing up the context is billed too, and its totals leave it out.
    """
    if (plain := _plain_anthropic_counts(usage)) is not None:
        return plain
    counts = _of_one_sampling(Counts(usage, place))
    for compaction in iterations(usage, "compaction"):
        for name, tokens in _of_one_sampling(Counts(compaction, f"{place}: iterations")).items():
            counts[name] += tokens
    return counts


def iterations(usage: Any, kind: str) -> list[Mapping[str, Any]]:
    """The samplings of one kind that Anthropic made for a call, apart from the answer itself."""
    listed = usage.get("iterations") if isinstance(usage, Mapping) else None
    found = listed if isinstance(listed, list) else ()
    return [each for each in found if isinstance(each, Mapping) and each.get("type") == kind]


def _of_one_sampling(top: Counts) -> dict[str, int]:
    short, long = _cache_writes(top.get("cache_creation_input_tokens"), top.inner("cache_creation"))
    return {
        "input": top.get("input_tokens"),
        "cache_read": top.get("cache_read_input_tokens"),
        "cache_write_5m": short,
        "cache_write_1h": long,
        "output": top.get("output_tokens"),
        "web_searches": top.inner("server_tool_use").get("web_search_requests"),
    }


def claude_code_counts(usage: Any, place: str) -> dict[str, int]:
    """Claude Code's ``modelUsage``: Anthropic's counts under other names, cache writes without their lifetime."""
    top = Counts(usage, place)
    return {
        "input": top.get("inputTokens"),
        "cache_read": top.get("cacheReadInputTokens"),
        "cache_write_5m": top.get("cacheCreationInputTokens"),
        "output": top.get("outputTokens"),
        "web_searches": top.get("webSearchRequests"),
    }


def flat_counts(usage: Any, place: str) -> dict[str, int]:
    """Totals with their parts beside them on one level: Codex's rollouts, and this library's own neutral traces."""
    top = Counts(usage, place)
    return {
        **_disjoint(
            prompt=top.get("input_tokens"),
            completion=top.get("output_tokens"),
            total=top.get("total_tokens"),
            cache_read=top.get("cached_input_tokens"),
            cache_write_5m=top.get("cache_write_input_tokens"),
            cache_write_1h=top.get("cache_write_1h_input_tokens"),
            audio_input=top.get("audio_input_tokens"),
            image_input=top.get("image_input_tokens"),
            reasoning=top.get("reasoning_output_tokens"),
            audio_output=top.get("audio_output_tokens"),
            image_output=top.get("image_output_tokens"),
        ),
        "web_searches": top.get("web_searches"),
    }


def _plain_anthropic_counts(usage: Any) -> dict[str, int] | None:
    """The counts of a usage that says how long cache writes live and has no searches, as most in traces; else None."""
    if iterations(usage, "compaction"):
        return None
    try:
        lifetimes = usage["cache_creation"]
        counts = {
            "input": usage["input_tokens"],
            "cache_read": usage["cache_read_input_tokens"],
            "cache_write_5m": lifetimes["ephemeral_5m_input_tokens"],
            "cache_write_1h": lifetimes["ephemeral_1h_input_tokens"],
            "output": usage["output_tokens"],
        }
        written = usage["cache_creation_input_tokens"]
        has_searches = any((usage.get("server_tool_use") or {}).values())
    except (AttributeError, KeyError, TypeError):
        return None
    for count in counts.values():
        if type(count) is not int or not 0 <= count <= MAX_TOKENS:
            return None
    is_whole = written == counts["cache_write_5m"] + counts["cache_write_1h"]
    return counts if is_whole and not has_searches else None


def gemini_counts(usage: Any, place: str) -> dict[str, int]:
    """Gemini: the prompt includes cached content; tool-use prompts and thoughts come on top of the two totals."""
    top = Counts(usage, place)
    prompt = _modalities(top, "promptTokensDetails", "prompt_tokens_details")
    tools = _modalities(top, "toolUsePromptTokensDetails", "tool_use_prompt_tokens_details")
    cached = _modalities(top, "cacheTokensDetails", "cache_tokens_details")
    answer = _modalities(top, "candidatesTokensDetails", "candidates_tokens_details")
    thoughts = top.get("thoughtsTokenCount", "thoughts_token_count")
    return _disjoint(
        prompt=top.get("promptTokenCount", "prompt_token_count")
        + top.get("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
        completion=top.get("candidatesTokenCount", "candidates_token_count", "responseTokenCount") + thoughts,
        cache_read=top.get("cachedContentTokenCount", "cached_content_token_count"),
        audio_input=max(prompt["AUDIO"] + tools["AUDIO"] - cached["AUDIO"], 0),
        image_input=max(_pictures(prompt) + _pictures(tools) - _pictures(cached), 0),
        reasoning=thoughts,
        audio_output=answer["AUDIO"],
        image_output=_pictures(answer),
    )


def plain_langchain_counts(usage: Any) -> dict[str, int] | None:
    """The counts of a ``usage_metadata`` that has nothing but text in and out, as most have; None for any other."""
    if type(usage) is not dict:
        return None
    for name in ("input_token_details", "output_token_details"):
        details = usage.get(name)
        if details is not None and (type(details) is not dict or any(details.values())):
            return None
    prompt, completion, total = usage.get("input_tokens"), usage.get("output_tokens"), usage.get("total_tokens")
    if type(prompt) is not int or type(completion) is not int or total != prompt + completion:
        return None
    is_sound = 0 <= prompt <= MAX_TOKENS and 0 <= completion <= MAX_TOKENS
    return {"input": prompt, "output": completion} if is_sound else None


def langchain_counts(usage: Any, place: str) -> dict[str, int]:
    """LangChain's ``usage_metadata``: totals include every class; OpenAI's tiers put a prefix before detail names."""
    top = Counts(usage, place)
    details, out_details = top.inner("input_token_details"), top.inner("output_token_details")
    short, long = _cache_writes(details.get(*_TIERED["cache_creation"]), details)
    return _disjoint(
        prompt=top.get("input_tokens"),
        completion=top.get("output_tokens"),
        total=top.get("total_tokens"),
        cache_read=details.get(*_TIERED["cache_read"], "cache_read_over_200k"),
        cache_write_5m=short,
        cache_write_1h=long,
        audio_input=details.get("audio"),
        image_input=details.get("image") + details.get("video"),
        reasoning=out_details.get(*_TIERED["reasoning"]),
        audio_output=out_details.get("audio"),
        image_output=out_details.get("image"),
    )


def litellm_counts(usage: Any, place: str) -> dict[str, int]:
    """LiteLLM's ``Usage``: OpenAI's shape with Anthropic's cache counts, in the details or at the top."""
    top = Counts(usage, place)
    details, out_details = top.inner("prompt_tokens_details"), top.inner("completion_tokens_details")
    written = details.get("cache_write_tokens") or details.get("cache_creation_tokens")
    short, long = _cache_writes(
        written or top.get("cache_creation_input_tokens"), details.inner("cache_creation_token_details")
    )
    searches = details.get("web_search_requests") or top.inner("server_tool_use").get("web_search_requests")
    return {
        **_disjoint(
            prompt=top.get("prompt_tokens"),
            completion=top.get("completion_tokens"),
            total=top.get("total_tokens"),
            cache_read=details.get("cached_tokens") or top.get("cache_read_input_tokens"),
            cache_write_5m=short,
            cache_write_1h=long,
            audio_input=details.get("audio_tokens"),
            image_input=details.get("image_tokens") + details.get("video_tokens"),
            reasoning=out_details.get("reasoning_tokens"),
            audio_output=out_details.get("audio_tokens"),
            image_output=out_details.get("image_tokens"),
        ),
        "web_searches": searches,
    }


def langfuse_counts(usage: Any, place: str) -> dict[str, int]:
    """Langfuse's ``usageDetails``: an open mapping in which each class stands beside ``input`` and ``output``.

    Users may hand in inclusive counts, which the total shows. Dotted names are what OpenInference calls the same.
    """
    top = Counts(usage, place)
    prompt, completion = top.get("input", "prompt_tokens"), top.get("output", "completion_tokens")
    cache_read = top.get(*_LANGFUSE_CACHE_READ)
    short, long = _lifetimes(
        top.get("input_cache_creation", "cache_creation_input_tokens", "prompt_details.cache_write"),
        top.get("input_cache_creation_5m"),
        top.get("input_cache_creation_1h"),
    )
    audio, image = top.get("input_audio", "input_audio_tokens", "prompt_details.audio"), top.get("input_image")
    reasoning = top.get("output_reasoning", "output_reasoning_tokens", "completion_details.reasoning")
    spoken = top.get("output_audio", "output_audio_tokens", "completion_details.audio")
    inside, outside = cache_read + short + long + audio + image, reasoning + spoken
    beside = top.get("total") - prompt - completion if top.get("total") else inside + outside
    return _disjoint(
        prompt=_inclusive(prompt, inside, beside, outside),
        completion=_inclusive(completion, outside, beside, inside),
        cache_read=cache_read,
        cache_write_5m=short,
        cache_write_1h=long,
        audio_input=audio,
        image_input=image,
        reasoning=reasoning,
        audio_output=spoken,
    )


def inspect_counts(usage: Any, place: str) -> dict[str, int]:
    """inspect_ai's ``ModelUsage``: cached tokens outside of the input, in old logs inside, as the total shows."""
    top = Counts(usage, place)
    prompt, completion, total = top.get("input_tokens"), top.get("output_tokens"), top.get("total_tokens")
    cache_read, cache_write = top.get("input_tokens_cache_read"), top.get("input_tokens_cache_write")
    reasoning, cached = top.get("reasoning_tokens"), cache_read + cache_write
    beside = total - prompt - completion if total else cached
    return _disjoint(
        prompt=_inclusive(prompt, cached, beside, reasoning),
        completion=completion,
        total=total,
        cache_read=cache_read,
        cache_write_5m=cache_write,
        reasoning=reasoning,
    )


def openhands_counts(usage: Any, place: str) -> dict[str, int]:
    """OpenHands' ``TokenUsage``: LiteLLM's totals, with what is part of them on the same level."""
    top = Counts(usage, place)
    return _disjoint(
        prompt=top.get("prompt_tokens"),
        completion=top.get("completion_tokens"),
        cache_read=top.get("cache_read_tokens"),
        cache_write_5m=top.get("cache_write_tokens"),
        reasoning=top.get("reasoning_tokens"),
    )


def atif_counts(usage: Any, place: str) -> dict[str, int]:
    """ATIF's ``metrics`` of a step or ``final_metrics`` of a trajectory: the prompt includes cached tokens."""
    top = Counts(usage, place)
    extra = top.inner("extra")
    return _disjoint(
        prompt=top.get("prompt_tokens", "total_prompt_tokens"),
        completion=top.get("completion_tokens", "total_completion_tokens"),
        cache_read=top.get("cached_tokens", "total_cached_tokens"),
        cache_write_5m=extra.get("cache_creation_input_tokens", "total_cache_creation_input_tokens"),
        reasoning=extra.get("reasoning_tokens", "reasoning_output_tokens", "total_reasoning_tokens"),
    )


def total_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts as spans have them: ``prompt`` and ``completion`` include their parts, unless numbers say otherwise."""
    parts = {name: counts[name] for name in counts.keys() - _WRITTEN}
    long = counts.get("cache_write_1h", 0)
    short = max(counts.get("cache_write_5m", 0), counts.get("cache_write", 0) - long)
    searches = parts.pop("web_searches", 0)
    sums = {"prompt": parts.pop("prompt", 0), "completion": parts.pop("completion", 0)}
    beside = parts.pop("reasoning_beside", 0)
    if not parts.get("reasoning"):
        sums["completion"] += beside
        parts["reasoning"] = beside
    return {**_disjoint(**sums, cache_write_5m=short, cache_write_1h=long, **parts), "web_searches": searches}


def service_tier(usage: Any) -> str | None:
    """The service tier a usage mapping (or a response) says the call was served at; None if it is silent.

    Reads ``service_tier``, Gemini's ``trafficType`` and the prefixes of LangChain's detail names.
    """
    if type(usage) is not dict and not isinstance(usage, Mapping):
        return None
    tier = usage.get("service_tier")
    if isinstance(tier, str):
        return tier.lower()
    traffic = usage.get("trafficType") or usage.get("traffic_type")
    if traffic is not None:
        return _TRAFFIC_TIERS.get(str(traffic).upper().rpartition(".")[2])
    details = usage.get("input_token_details")
    if not details:
        return None
    names = details if isinstance(details, Mapping) else ()
    return next((tier for tier in _TIER_PREFIXES if tier in names or f"{tier}_cache_read" in names), None)


def service_region(usage: Any) -> str | None:
    """The region that Claude's usage mapping says the call was served in; None if it may be any, or if it is silent."""
    return region_of(usage.get("inference_geo")) if isinstance(usage, Mapping) else None


def region_of(geography: Any) -> str | None:
    """The region that an ``inference_geo`` names; None if it names none."""
    if not isinstance(geography, str) or geography in _ANYWHERE:
        return None
    region = geography.lower()
    return region if _REGION.fullmatch(region) else None


def _disjoint(
    *,
    prompt: int,
    completion: int,
    total: int = 0,
    cache_read: int = 0,
    cache_write_5m: int = 0,
    cache_write_1h: int = 0,
    audio_input: int = 0,
    image_input: int = 0,
    reasoning: int = 0,
    audio_output: int = 0,
    image_output: int = 0,
) -> dict[str, int]:
    """The text classes as what is left of the inclusive totals; a modality never claims what the cache already has."""
    cached = cache_read + cache_write_5m + cache_write_1h
    beside = total - prompt - completion
    if cached > prompt or (cached and beside in (cached, cached + reasoning)):
        prompt += cached
    if reasoning > completion or (reasoning and beside in (reasoning, cached + reasoning)):
        completion += reasoning
    fresh = prompt - cached
    audio_input = min(audio_input, fresh)
    image_input = min(image_input, fresh - audio_input)
    answer = completion - reasoning
    audio_output = min(audio_output, answer)
    image_output = min(image_output, answer - audio_output)
    return {
        "input": fresh - audio_input - image_input,
        "cache_read": cache_read,
        "cache_write_5m": cache_write_5m,
        "cache_write_1h": cache_write_1h,
        "audio_input": audio_input,
        "image_input": image_input,
        "output": answer - audio_output - image_output,
        "reasoning": reasoning,
        "audio_output": audio_output,
        "image_output": image_output,
    }


def _cache_writes(written: int, by_lifetime: Counts) -> tuple[int, int]:
    """Cache writes as (5 minutes or unknown, 1 hour); the breakdown may be part of the sum or replace it."""
    short, long = by_lifetime.get("ephemeral_5m_input_tokens"), by_lifetime.get("ephemeral_1h_input_tokens")
    return _lifetimes(written, short, long)


def _lifetimes(written: int, short: int, long: int) -> tuple[int, int]:
    return short + max(written - short - long, 0), long


def _inclusive(count: int, details: int, beside: int, others: int) -> int:
    """A count with its details, where a shape keeps them outside unless the numbers show that they are inside.

    Args:
        count: the count as written.
        details: tokens in its details.
        beside: tokens of the stated total in neither count.
        others: tokens in the other count's details.
    """
    is_inside = details <= count and beside in (0, others)
    return count if is_inside else count + details


def _modalities(top: Counts, *names: str) -> dict[str, int]:
    """Gemini's list of ``{modality, tokenCount}`` as tokens by modality."""
    sums = {"AUDIO": 0, "IMAGE": 0, "VIDEO": 0}
    for counts in top.entries(*names):
        modality = str(counts.data.get("modality")).rpartition(".")[2].upper()
        if modality in sums:
            sums[modality] += counts.get("tokenCount", "token_count")
    return sums


def _pictures(modalities: Mapping[str, int]) -> int:
    return modalities["IMAGE"] + modalities["VIDEO"]
