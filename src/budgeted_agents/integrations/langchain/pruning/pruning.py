"""Keeping a history under a cap on context: clear old tool results, then drop the oldest turns or have them summed up,
then give up. Only what is sent gets shorter, never the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from budgeted_agents.governor import matching, tightest_on_context
from budgeted_agents.integrations.langchain.calls.messages import schema_texts
from budgeted_agents.integrations.langchain.governance.in_force import landing_budgets
from budgeted_agents.integrations.langchain.pruning.overflow import Known, Overflow, Wanted, summary_message
from budgeted_agents.integrations.langchain.pruning.shortening import Room, Version, shortened
from budgeted_agents.integrations.langchain.pruning.summaries import Summaries, marks_of
from budgeted_agents.integrations.langchain.pruning.summarizing import Summarizer, prompt_for
from budgeted_agents.meter import Steps
from budgeted_agents.meter.refusals import over_cap

_summaries = Summaries()


def prune(summarizer: Summarizer, messages: list[BaseMessage], kwargs: Mapping[str, Any]) -> Steps[list[BaseMessage]]:
    """The messages, or what the tightest cap on context leaves of them.

    Args:
        summarizer: who makes the call, and can have a history summed up. The first of its models counts tokens.
        messages, kwargs: of the call.

    Raises:
        BudgetExceeded: not even the latest turn fits.
    """
    governance, attribution = summarizer.governance, summarizer.attribution
    budget = tightest_on_context(matching(governance.meter.policy, attribution))
    if budget is None or budget.context_tokens is None:
        return messages
    room = Room(summarizer.tiers[0].name, budget.context_tokens, schema_texts(kwargs))
    if room.holds(messages):
        return messages
    if budget.context_overflow == "summarize":
        found = yield from _summed_up(summarizer, messages, room)
        if found is not None:
            return found
    versions = shortened(messages)
    found = room.longest(versions)
    if found is not None:
        return found
    error = over_cap(
        budget.name,
        "context_tokens",
        needed=room.size(versions[-1]),
        limit=room.limit,
        what="a model call whose latest turn alone is too long",
        remedy="Raise context_tokens, or hand the model less at a time.",
    )
    yield from governance.meter.refused(governance.run, error, attribution.get("node", ""))
    raise error


def _summed_up(summarizer: Summarizer, messages: list[BaseMessage], room: Room) -> Steps[Version | None]:
    """The history with a summary in it, remembered or made now; or with old tool results cleared, if that is enough.

    None if there is no summary to be had: the history is then shortened without one. A run that is landing makes none.
    """
    overflow, run = Overflow(messages, room), summarizer.governance.run
    marks = marks_of(overflow.history.turns[:-1])  # the latest turn stays as it is
    known = _summaries.find(run.session, marks)
    found = overflow.with_results_cleared(known)
    if found is not None:
        return found
    is_landing = run.exhausted is not None or landing_budgets()
    wanted = None if is_landing else overflow.wanted(known)
    if wanted is not None:
        summary = yield from _summary(summarizer, known, wanted, room)
        if summary is not None and not overflow.takes(wanted, summary):
            summary = None
        _summaries.keep(run.session, marks[wanted.covers - 1], summary)
        known = known if summary is None else Known(wanted.covers, summary)
    return None if known.summary is None else overflow.with_turns_dropped(known)


def _summary(summarizer: Summarizer, known: Known, wanted: Wanted, room: Room) -> Steps[HumanMessage | None]:
    """The summary that is wanted; None if the budget does not cover it, the model fails, or says nothing."""
    try:
        prompt = prompt_for(known.summary, wanted.dropped, Room(room.model, room.limit), wanted.tokens)
        text = (yield from summarizer.ask(prompt, wanted.tokens)) if prompt is not None else ""
    except Exception:  # noqa: BLE001 -- whatever keeps a summary from being made keeps no call from being made
        return None
    return summary_message(text) if text else None
