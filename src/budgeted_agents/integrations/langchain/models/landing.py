"""What every landing has in common: what is asked of the cheapest tier, over ever less of a history, and what is said
where no model can be called any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from budgeted_agents.errors import BudgetedAgentsError
from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.integrations.langchain.calls.quoting import most_thinking
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.models.governed_model import governed
from budgeted_agents.integrations.langchain.pruning.shortening import shortened, without_results
from budgeted_agents.meter import Steps

LANDING_PROMPT = (
    "The budget for this task is spent, so no tool can be called any more. Using only what stands above, give the best "
    "short answer now, and say in one sentence what is missing."
)
"""What the default finalizer asks of the cheapest tier."""

LANDING_ANSWER = 1_024
"""Longest answer of the default finalizer, in tokens, without what the model thinks first."""

NOT_CALLED = "This tool was not called: the budget was spent."
"""The result that a tool call gets which the budget cut off."""

UNFINISHED = "unfinished"
"""Key of an answer's ``additional_kwargs`` under which stands what it was made from besides the history: what calls had
answered in a step that was then refused."""

NO_ANSWER = "an empty answer"
"""What a model that thinks gives, where its thinking has taken the whole output limit."""


def ways_to_answer(
    governance: Governance, history: Sequence[BaseMessage]
) -> Iterator[tuple[Any, list[BaseMessage], dict[str, Any]]]:
    """Calls of the cheapest tier over ever less of what there is, each with its arguments."""
    tiers = governance.latest_tiers
    if not tiers or not history:
        return
    models = [tier.model for tier in tiers]
    limited = introspect.limit_field(models[0]) is not None
    longest = LANDING_ANSWER + most_thinking(governance, tiers)
    kwargs = introspect.with_limit(models[0], {}, longest) if limited else {}
    for version in _versions(history, unfinished(governance)):
        yield governed(models), [*as_plain_text(version), HumanMessage(LANDING_PROMPT)], kwargs


def _versions(history: Sequence[BaseMessage], found: Sequence[BaseMessage]) -> Iterator[list[BaseMessage]]:
    """What there is to answer from, and ever less of it: at last the question, and what came of it without its bulk."""
    whole = [*history, *found]
    shorter = shortened(whole)
    number, version = 1 + len(shorter), whole
    for place in dict.fromkeys((0, number // 4, number // 2, number - 1)):
        version = shorter[place - 1] if place else whole
        yield version
    shortest = without_results(list(shortened(history)[-1]))
    if shortest != version:
        yield shortest


def unfinished(governance: Governance) -> list[BaseMessage]:
    """What model calls had answered in steps that were then refused, as the model's own words: they open no new turn,
    so that the question is kept where the history has to be cut."""
    return [AIMessage(f"From a step that was not finished: {text}") for text in governance.unfinished]


def made_from_unfinished(governance: Governance, answer: AIMessage) -> AIMessage:
    """The answer, with what it was made from besides the history."""
    found = list(governance.unfinished)
    if not found:
        return answer
    return answer.model_copy(update={"additional_kwargs": {**answer.additional_kwargs, UNFINISHED: found}})


def stopped_answer(governance: Governance, empty: BaseMessage | None = None) -> AIMessage:
    """The plain sentence a run lands with where no model can be called; or in the place of the text that an ``empty``
    answer lacks: what a model has only thought was paid for as well."""
    run = governance.run
    why = f" ({run.exhausted})" if run.exhausted else ""
    sentence = f"I had to stop here because the budget for this task is spent.{why}"
    if found := governance.unfinished:
        sentence = "\n\n".join([sentence, "From a step that was not finished:", *found])
    if not isinstance(empty, AIMessage) or empty.tool_calls:
        return AIMessage(sentence)
    blocks = [] if isinstance(empty.content, str) else [*empty.content, {"type": "text", "text": sentence}]
    return empty.model_copy(update={"content": blocks or sentence})


def note_landing(governance: Governance) -> Steps[None]:
    """Write down how the run landed, for the report."""
    run, now = governance.run, governance.meter.clock()
    why = str(run.exhausted) if run.exhausted else ""
    body = {"kind": "landing", "message": f"Landed {run.landed}", "why": why, "run": run.id}
    try:
        yield partial(governance.meter.ledger.note, run.session, body, now=now)
    except BudgetedAgentsError as error:  # a report without this line is better than a lost answer
        governance.meter.publish("unsettled", f"The landing could not be noted: {error}", run.session)


def missing_results(history: Sequence[BaseMessage]) -> list[ToolMessage]:
    """A result for every tool call that has none: providers reject a history without."""
    given = {message.tool_call_id for message in history if isinstance(message, ToolMessage)}
    return [
        ToolMessage(NOT_CALLED, name=call["name"], tool_call_id=call["id"] or "", status="error")
        for message in history
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["id"] not in given
    ]


def as_plain_text(history: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The history without tool calls, which some providers reject where no tools are bound."""
    plain: list[BaseMessage] = []
    for message in history:
        if isinstance(message, ToolMessage):
            plain.append(HumanMessage(f"Result of {message.name or 'a tool'}: {message.text}"))
        elif isinstance(message, AIMessage) and message.tool_calls:
            names = ", ".join(call["name"] for call in message.tool_calls)
            plain.append(AIMessage(f"{message.text}\n(called {names})".strip()))
        elif isinstance(message, SystemMessage):
            plain.insert(sum(isinstance(m, SystemMessage) for m in plain), message)
        else:
            plain.append(message)
    return plain
