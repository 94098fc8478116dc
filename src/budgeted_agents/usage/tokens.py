"""`Usage`: the tokens of one call, every token in exactly one class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from budgeted_agents.usage import shapes

_PLAIN_TOTALS = frozenset({"prompt", "completion", "total", "cache_read"})
"""What most spans count; they are read without a look at the rest."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call, or of many added up. The classes are disjoint, so nothing is ever priced twice.

    Providers disagree on whether cached tokens are part of the input and whether reasoning is part of the output; the
    ``from_*`` constructors settle that once and validate. Plain construction validates nothing: it is for counts that
    are already sound.

    Attributes:
        input: text input that was neither read from nor written to a prompt cache (tokens).
        cache_read: input read from a prompt cache.
        cache_write_5m: input written to a prompt cache for 5 minutes, or for a time the provider did not say.
        cache_write_1h: input written to a prompt cache for 1 hour.
        audio_input: audio input.
        image_input: image and video input counted in tokens apart from text.
        output: text output, without reasoning.
        reasoning: output spent on thinking.
        audio_output: audio output.
        image_output: image output counted in tokens.
        web_searches: searches the provider ran for the call and bills by number. Not tokens.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output: int = 0
    reasoning: int = 0
    audio_output: int = 0
    image_output: int = 0
    web_searches: int = 0

    @property
    def prompt_tokens(self) -> int:
        """All input tokens, cached ones included."""
        return (
            self.input
            + self.cache_read
            + self.cache_write_5m
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
        )

    @property
    def completion_tokens(self) -> int:
        """All output tokens, reasoning included."""
        return self.output + self.reasoning + self.audio_output + self.image_output

    @property
    def total_tokens(self) -> int:
        """All tokens, in and out."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write_5m + other.cache_write_5m,
            self.cache_write_1h + other.cache_write_1h,
            self.audio_input + other.audio_input,
            self.image_input + other.image_input,
            self.output + other.output,
            self.reasoning + other.reasoning,
            self.audio_output + other.audio_output,
            self.image_output + other.image_output,
            self.web_searches + other.web_searches,
        )

    @classmethod
    def from_openai(cls, usage: Any, *, place: str = "OpenAI usage") -> Usage:
        """From the ``usage`` of an OpenAI chat completion (``prompt_tokens``) or response (``input_tokens``).

        Cached tokens and reasoning are part of the totals. Also right for providers with an OpenAI-like API, unless
        their numbers show that cached tokens or reasoning stand outside of the totals.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.openai_counts(usage, place))

    @classmethod
    def from_anthropic(cls, usage: Any, *, place: str = "Anthropic usage") -> Usage:
        """From the ``usage`` of an Anthropic message, where cached tokens stand outside of ``input_tokens``.

        Anthropic does not count thinking apart, so it is in ``output`` (and costs the same).

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.anthropic_counts(usage, place))

    @classmethod
    def from_claude_code(cls, usage: Any, *, place: str = "modelUsage") -> Usage:
        """From one model's figures in the ``modelUsage`` of Claude Code's result events.

        Cached tokens stand outside of ``inputTokens``; cache writes of unknown lifetime count as 5 minutes.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.claude_code_counts(usage, place))

    @classmethod
    def from_flat(cls, usage: Any, *, place: str = "usage") -> Usage:
        """From ``input_tokens`` and ``output_tokens`` that include every class, their parts beside them on one level.

        The parts: ``cached_input_tokens``, ``cache_write_input_tokens`` (5 minutes or unknown),
        ``cache_write_1h_input_tokens``, ``audio_input_tokens``, ``image_input_tokens``, ``reasoning_output_tokens``,
        ``audio_output_tokens``, ``image_output_tokens``; and ``web_searches``, which are no tokens.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.flat_counts(usage, place))

    @classmethod
    def from_gemini(cls, usage: Any, *, place: str = "Gemini usage") -> Usage:
        """From Gemini's ``usageMetadata``: cached tokens inside the prompt count, thoughts outside of candidates.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.gemini_counts(usage, place))

    @classmethod
    def from_langchain(cls, usage: Any, *, place: str = "usage_metadata") -> Usage:
        """From a LangChain ``usage_metadata``, whose ``input_tokens`` is the sum of all input classes.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**(shapes.plain_langchain_counts(usage) or shapes.langchain_counts(usage, place)))

    @classmethod
    def from_litellm(cls, usage: Any, *, place: str = "LiteLLM usage") -> Usage:
        """From a LiteLLM ``Usage`` as a dict, whose ``prompt_tokens`` include cached tokens.

        Older versions left Anthropic's cached tokens out; that is recognized by the numbers.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.litellm_counts(usage, place))

    @classmethod
    def from_langfuse(cls, usage: Any, *, place: str = "usageDetails") -> Usage:
        """From Langfuse's ``usageDetails``, where cached tokens and reasoning stand beside ``input`` and ``output``.

        Users may hand in counts that include them; a ``total`` shows it.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.langfuse_counts(usage, place))

    @classmethod
    def from_inspect(cls, usage: Any, *, place: str = "ModelUsage") -> Usage:
        """From inspect_ai's ``ModelUsage``, whose ``input_tokens`` exclude cached tokens, except in old logs.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.inspect_counts(usage, place))

    @classmethod
    def from_openhands(cls, usage: Any, *, place: str = "TokenUsage") -> Usage:
        """From OpenHands' ``TokenUsage``, whose ``prompt_tokens`` include cached tokens where LiteLLM counted them.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.openhands_counts(usage, place))

    @classmethod
    def from_atif(cls, usage: Any, *, place: str = "metrics") -> Usage:
        """From the ``metrics`` of a step in an ATIF trajectory, or its ``final_metrics``.

        Raises:
            InvalidUsage: if a count is negative, absurd or not an integer, or ``usage`` is not a mapping.
        """
        return cls(**shapes.atif_counts(usage, place))

    @classmethod
    def from_totals(cls, counts: Mapping[str, int]) -> Usage:
        """From sound counts by name, as the attributes of spans have them.

        Args:
            counts: ``prompt`` and ``completion`` (including everything below, unless the numbers contradict that),
                ``total`` of the two, and their parts ``cache_read``, ``cache_write`` (of any lifetime),
                ``cache_write_5m``, ``cache_write_1h``, ``audio_input``, ``image_input``, ``reasoning``,
                ``audio_output``, ``image_output``; ``reasoning_beside`` if reasoning is surely no part of
                ``completion``; and ``web_searches``.
        """
        if _PLAIN_TOTALS.issuperset(counts):
            get = counts.get
            prompt, completion, cached = get("prompt", 0), get("completion", 0), get("cache_read", 0)
            is_beside = cached > prompt or (cached and get("total") == prompt + cached + completion)
            return cls(prompt if is_beside else prompt - cached, cached, output=completion)
        return cls(**shapes.total_counts(counts))
