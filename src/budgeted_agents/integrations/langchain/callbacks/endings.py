"""The end of a model call that a callback has watched: answered, failed, cut off in mid-stream, or never made."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.callbacks.open_calls import OpenModelCall
from budgeted_agents.integrations.langchain.calls import answers
from budgeted_agents.integrations.langchain.calls.answers import Answered
from budgeted_agents.meter import Steps, cancel, fail
from budgeted_agents.usage import Usage

CUT = "cut off in mid-stream"
"""Flag of a call that was stopped because its answer ran past what was held for it."""

BATCHED = "counted with its batch"
"""Flag of a prompt whose usage is in that of another one of the same request."""


def cut(call: OpenModelCall, refusal: BudgetExceeded) -> BudgetExceeded:
    """The refusal that stops a stream in its midst, by the budget that had no more for it."""
    quote, granted = call.observed.quote, call.admission.granted
    call.is_cut = True
    return BudgetExceeded(
        f"An answer of {quote.model} was {CUT}: it ran past the {granted:,} output tokens that were held for it, and "
        "no more could be held. What had come until then is charged. Raise the budget, or set max_tokens on the model.",
        **refusal.particulars,
    )


def answered(call: OpenModelCall, response: LLMResult) -> Steps[Any]:
    """Settle with what the answer says it used, estimated where it says nothing."""
    governance = call.governance
    messages = _messages(response)
    if call.admission.content is not None:
        call.admission.content.answered(messages)
    reported, billed = answers.said(messages)
    if reported is not None and reported.get("total_cost") == 0:  # so LangChain marks an answer out of its own cache
        return cancel(governance.meter, call.admission, call.observed.price, flag="cache_hit")
    if call.batch is not None:
        if reported is None and call.batch.is_counted:
            return cancel(governance.meter, call.admission, call.observed.price, flag=BATCHED)
        call.batch.is_counted = call.batch.is_counted or reported is not None
    quote, longest = call.admission.way.quote, call.observed.longest
    found = answers.used(reported, billed, messages, quote, longest=longest)
    if "estimated" in found.flags:
        model = call.observed.quote.model
        message = f"An answer of {model} says nothing of its usage: it is charged by an estimate"
        governance.meter.publish("unmetered", message, governance.run.session)
    return answers.settle_used(governance.meter, call.admission, call.observed.price, found, messages)


def failed(call: OpenModelCall, error: BaseException, response: Any) -> Steps[Any]:
    """Release what was certainly not billed, settle what was cut off here, presume the rest."""
    if call.admission.content is not None and isinstance(response, LLMResult):
        call.admission.content.answered(_messages(response), whole=False)
    if call.is_cut:
        return answers.settle_used(call.governance.meter, call.admission, call.observed.price, _cut_off(call))
    if (carried := answers.carried_by(error)) is not None:
        return answers.settle_answer(call.governance.meter, call.admission, call.observed.price, [carried])
    came = call.received.any or _has_content(response)
    return fail(call.governance.meter, call.admission, error, call.observed.price, answered=came)


def _cut_off(call: OpenModelCall) -> Answered:
    """What had been sent and received when the stream was cut."""
    quote = call.observed.quote
    usage = Usage(input=quote.input_tokens, output=call.received.count(quote.model))
    return Answered(usage, flags=("estimated", CUT))


def _messages(response: LLMResult) -> list[BaseMessage]:
    """The answer's messages; those of a model that only completes text are made from what it says of itself."""
    generations = response.generations[0] if response.generations else []
    messages = [g.message for g in generations if isinstance(g, ChatGeneration)]
    if messages or not generations:
        return messages
    text = "".join(generation.text for generation in generations)
    said = (response.llm_output or {}).get("token_usage")
    return [AIMessage(text, usage_metadata=answers.usage_metadata(said) if said else None)]


def _has_content(response: Any) -> bool:
    """Whether part of an answer had come before the error."""
    if not isinstance(response, LLMResult) or not response.generations:
        return False
    first = response.generations[0]
    return bool(first) and isinstance(first[0], ChatGeneration) and bool(first[0].message.content)
