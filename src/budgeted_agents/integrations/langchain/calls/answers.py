"""What an answer says it used; and an estimate, never zero, where it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from msgspec import Struct
from msgspec.structs import replace

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.governor import Quote
from budgeted_agents.integrations.langchain.calls.messages import finish_reason, parts_of
from budgeted_agents.integrations.langchain.calls.quoting import UNPRICED, price_as_served
from budgeted_agents.meter import Admission, Meter, Steps, settle
from budgeted_agents.meter.settlement import EndedCall
from budgeted_agents.prices import Price
from budgeted_agents.usage import Usage, iterations, service_region, service_tier


class Answered(Struct, frozen=True, gc=False):
    """Usage of one call, with what the record should say of it."""

    usage: Usage
    billed_model: str = ""
    service_tier: str | None = None
    flags: tuple[str, ...] = ()


def settle_answer(
    meter: Meter,
    admission: Admission,
    price: Price,
    messages: Sequence[BaseMessage],
    output: Mapping[str, Any] | None = None,
    asked_tier: str | None = None,
    *,
    whole: bool = True,
) -> Steps[EndedCall]:
    """Charge a call with what its answer says it used, and keep the answer if that was asked for.

    Args:
        meter, admission, price, messages, asked_tier: as in ``settle_used``.
        output: what the answer says besides its messages.
        whole: whether all of it has come.
    """
    if admission.content is not None:
        admission.content.answered(messages, whole=whole)
    answered = of_messages(messages, admission.way.quote)
    if output and not answered.billed_model:
        answered = replace(answered, billed_model=str(output.get("model_name") or ""))
    return settle_used(meter, admission, price, answered, messages, asked_tier)


def settle_used(
    meter: Meter,
    admission: Admission,
    price: Price,
    answered: Answered,
    messages: Sequence[BaseMessage] = (),
    asked_tier: str | None = None,
) -> Steps[EndedCall]:
    """Charge a call with what it used.

    Args:
        meter, admission: what the call is conducted with, and how it was admitted.
        price: of the model that was called, where it was asked to be served.
        answered: what it used.
        messages: the answer, which may say where and how it was served.
        asked_tier: the service tier that was asked for, which holds where prices vary and the answer says nothing.
    """
    tier = answered.service_tier
    if price.varies:
        region, speed = served(messages)
        price, tier = price_as_served(meter, price, region), tier or speed or asked_tier
    unpriced = _unpriced(price, answered.usage)
    if UNPRICED_SEARCH in unpriced:
        message = (
            f"{price.model} ran {answered.usage.web_searches} web search(es), and its price row has no price for them: "
            "they are charged at $0. Register its search_context_cost_per_query, see docs/prices.md"
        )
        meter.publish("unmetered", message, admission.run.session, run=admission.run.id)
    return settle(
        meter,
        admission,
        answered.usage,
        price,
        billed=answered.billed_model,
        service_tier=tier,
        flags=answered.flags + unpriced,
    )


UNPRICED_SEARCH = "unpriced search"
"""Flag of a call for which the provider searched the web at a price that the list does not know."""


def _unpriced(price: Price, usage: Usage) -> tuple[str, ...]:
    """What the record of a call says of prices that nobody knows."""
    if price.source == UNPRICED:
        return (UNPRICED,)
    return (UNPRICED_SEARCH,) if usage.web_searches and not price.prices_searches else ()


def of_messages(messages: Sequence[BaseMessage], quote: Quote) -> Answered:
    """What these answer messages used: their reported usage, or an estimate from the quote and the text received."""
    reported, billed = said(messages)
    return used(reported, billed, messages, quote)


def used(
    reported: UsageMetadata | None,
    billed: str,
    messages: Sequence[BaseMessage],
    quote: Quote,
    *,
    longest: int | None = None,
) -> Answered:
    """What an answer used, by what it ``said``.

    ``longest``: the most output tokens the answer may have, if the quote held fewer.
    """
    if reported is None:
        return Answered(estimated(messages, quote, longest), billed, flags=("estimated",))
    try:
        usage = Usage.from_langchain(reported)
    except InvalidUsage:
        return Answered(estimated(messages, quote, longest), billed, flags=("estimated", "invalid usage reported"))
    if not (usage.input or usage.output or usage.total_tokens):
        return Answered(estimated(messages, quote, longest), billed, flags=("estimated",))
    for message in messages:
        is_plain = message.content.__class__ is str and not message.additional_kwargs
        if not is_plain or _GROUNDING in message.response_metadata:
            usage = _completed(usage, message)
    return Answered(usage, billed, service_tier(reported))


_GROUNDING = "grounding_metadata"
_SEARCHED = frozenset({"server_tool_use", "server_tool_call", "web_search_call"})
_OF_IMAGES = frozenset({"image", "image_url"})


def _completed(usage: Usage, answer: BaseMessage) -> Usage:
    """The usage with what the answer shows of itself and LangChain's usage does not say: searches the provider ran,
    what it spent on compacting the context first, and that what it gave is a picture or speech, which is then what its
    output tokens are."""
    kind = "audio" if "audio" in answer.additional_kwargs else ""
    searches = len((answer.response_metadata.get(_GROUNDING) or {}).get("web_search_queries") or ())
    content = [] if isinstance(answer.content, str) else answer.content
    for block in (*content, *(answer.additional_kwargs.get("tool_outputs") or ())):
        if block.__class__ is dict:
            if block.get("type") in _SEARCHED:
                searches += _is_search(block)
            elif block.get("type") in _OF_IMAGES:
                kind = kind or "image"
    if searches:
        usage = replace(usage, web_searches=usage.web_searches + searches)
    for compaction in iterations(answer.response_metadata.get("usage"), "compaction"):
        with suppress(InvalidUsage):
            usage += Usage.from_anthropic(compaction)
    if kind and usage.output and not (usage.image_output or usage.audio_output):
        usage = replace(usage, output=0, **{f"{kind}_output": usage.output})
    return usage


def _is_search(block: Mapping[str, Any]) -> bool:
    """Whether a provider's own tool has searched; to open a page it has found costs nothing."""
    if block["type"] != "web_search_call":
        return bool(block.get("name") == "web_search")
    return bool((block.get("action") or {}).get("type", "search") == "search")


def said(messages: Sequence[BaseMessage]) -> tuple[UsageMetadata | None, str]:
    """The usage these messages report, and the first name of the model that answered.

    Several answers to one request all report the same. Chunks of one answer each report what came since the last; one
    that counts the whole prompt again reports all that came so far.
    """
    usage, billed = None, ""
    for message in messages:
        if isinstance(message, AIMessage) and message.usage_metadata:
            found = message.usage_metadata
            if usage is None:
                usage = found
            elif isinstance(message, AIMessageChunk):
                usage = found if found["input_tokens"] == usage["input_tokens"] > 0 else add_usage(usage, found)
        billed = billed or message.response_metadata.get("model_name") or ""
    return usage, billed


def is_complete(chunks: Sequence[BaseMessage]) -> bool:
    """Whether a stream has said why the answer ended and what it used: nothing more is billed then. Usage alone says
    nothing, since some providers report it as they go."""
    has_ended = any(finish_reason(chunk) or chunk.response_metadata.get("status") for chunk in chunks)
    return has_ended and said(chunks)[0] is not None


def is_useless(messages: Sequence[BaseMessage], *, formatted: bool, spent: bool) -> bool:
    """Whether an answer was cut off before it was of any use: within its thinking, in a tool call, which always comes
    last, or in a format that has to be whole.

    Args:
        messages: the answer, or the chunks of it.
        formatted: whether it was asked for in a format.
        spent: whether it took all tokens it might; that tells where it does not say itself why it ended.
    """
    reason = next(filter(None, map(finish_reason, reversed(messages))), "")
    is_cut = reason.lower() in _CUT_OFF if reason else spent
    return is_cut and (formatted or any(map(_asks_tools, messages)) or not any(each.text.strip() for each in messages))


_CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens"})


def is_of_cut_off(error: BaseException) -> bool:
    """Whether a client failed because an answer in a format was cut off (OpenAI's client does)."""
    return type(error).__name__ == "LengthFinishReasonError"


def carried_by(error: BaseException) -> AIMessage | None:
    """The answer that such an error carries, with nothing but what it used; None where it does not say."""
    completion: Any = getattr(error, "completion", None)
    if not is_of_cut_off(error) or completion is None or completion.usage is None:
        return None
    usage = usage_metadata(completion.usage.model_dump())
    said = {"model_name": completion.model, "finish_reason": "length"}
    return AIMessage("", usage_metadata=usage, response_metadata=said)


def usage_metadata(said: Any) -> UsageMetadata | None:
    """LangChain's form of what OpenAI says of usage; None if it is none."""
    try:
        usage = Usage.from_openai(said)
    except InvalidUsage:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details={"cache_read": usage.cache_read, "audio": usage.audio_input},
        output_token_details={"reasoning": usage.reasoning, "audio": usage.audio_output},
    )


def _asks_tools(answer: BaseMessage) -> bool:
    if not isinstance(answer, AIMessage):
        return False
    return bool(answer.tool_calls or answer.invalid_tool_calls or getattr(answer, "tool_call_chunks", None))


def served(messages: Sequence[BaseMessage]) -> tuple[str | None, str | None]:
    """The region that Claude says it was served in, and its speed, as a service tier; None where it is the usual."""
    for message in messages:
        usage = message.response_metadata.get("usage")
        if isinstance(usage, Mapping):
            return service_region(usage), ("fast" if usage.get("speed") == "fast" else None)
    return None, None


def estimated(messages: Sequence[BaseMessage], quote: Quote, longest: int | None = None) -> Usage:
    """A usage no lower than the likely one: the input as it was bounded, the output at one token for two characters."""
    output = 0
    for message in messages:
        parts = parts_of(message)
        output += parts.tokens + sum(len(text.encode()) for text in parts.texts) // 2 + 1
    return Usage(input=quote.input_tokens, output=min(output, longest or quote.output_limit))
