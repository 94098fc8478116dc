"""Keeping a history under a cap on context: clear old tool results, then drop the oldest turns, then give up.

What is left is always a history that a provider accepts: no tool call without its result, no result without its call,
system messages first, and a user's message to answer. Messages are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from budgeted_agents.governor import context_limit, matching
from budgeted_agents.integrations.langchain.governance import Governance
from budgeted_agents.integrations.langchain.messages import count, schema_texts
from budgeted_agents.meter import Steps
from budgeted_agents.meter.refusals import over_cap

CLEARED = "[cleared to save context]"
"""Stands in place of an old tool result."""

KEPT_RESULTS = 3
"""The latest tool results, which are cleared last."""


def prune(
    governance: Governance,
    model: str,
    messages: list[BaseMessage],
    kwargs: Mapping[str, Any],
    attribution: Mapping[str, str],
) -> Steps[list[BaseMessage]]:
    """The messages, or as many of them as the tightest cap on context allows, counted for ``model``.

    Raises:
        BudgetExceeded: not even the latest turn fits.
    """
    if "context_tokens" not in governance.meter.policy.caps:
        return messages
    budgets = list(matching(governance.meter.policy, attribution))
    limit = context_limit(budgets)
    if limit is None:
        return messages
    schemas = schema_texts(kwargs)

    def size(history: Sequence[BaseMessage]) -> int:
        return count(model, history, schemas)

    if size(messages) <= limit:
        return messages
    for shorter in shortened(messages):
        if size(shorter) <= limit:
            return shorter
    name = next(budget.name for budget in budgets if budget.context_tokens == limit)
    error = over_cap(
        name,
        "context_tokens",
        needed=size(shorter),
        limit=limit,
        what="a model call whose latest turn alone is too long",
        remedy="Raise context_tokens, or hand the model less at a time.",
    )
    yield from governance.meter.refused(governance.run, error, attribution.get("node", ""))
    raise error


def shortened(messages: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    """Ever shorter versions of a history, longest first."""
    versions = _cleared(messages)
    turns, system = _turns(versions[-1] if versions else messages), _system(messages)
    for first in range(1, len(turns)):
        kept = [message for turn in turns[first:] for message in turn]
        versions.append([*system, *_opened_by_user(kept, turns[:first])])
    return versions or [list(messages)]


def _cleared(messages: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    """Versions with ever more old tool results cleared, in a few strides rather than one by one."""
    results = [
        i for i, message in enumerate(messages) if isinstance(message, ToolMessage) and message.content != CLEARED
    ]
    versions: list[list[BaseMessage]] = []
    old = len(results) - KEPT_RESULTS
    for number in sorted({(old + 3) // 4, (old + 1) // 2, 3 * old // 4, old, len(results) - 1}):
        if number > 0:
            gone = set(results[:number])
            versions.append([_without_content(m) if i in gone else m for i, m in enumerate(messages)])
    return versions


def _without_content(message: BaseMessage) -> BaseMessage:
    return message.model_copy(update={"content": CLEARED})


def _system(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    return [message for message in messages if isinstance(message, SystemMessage)]


def _turns(messages: Sequence[BaseMessage]) -> list[list[BaseMessage]]:
    """The history in pieces that stand or fall together: a message, or tool calls with all their results."""
    turns: list[list[BaseMessage]] = []
    for message in messages:
        if isinstance(message, SystemMessage):
            continue
        if isinstance(message, ToolMessage) and turns and _awaits(turns[-1], message):
            turns[-1].append(message)
        else:
            turns.append([message])
    return turns


def _awaits(turn: Sequence[BaseMessage], result: ToolMessage) -> bool:
    head = turn[0]
    return isinstance(head, AIMessage) and any(call["id"] == result.tool_call_id for call in head.tool_calls)


def _opened_by_user(kept: list[BaseMessage], dropped: Sequence[Sequence[BaseMessage]]) -> list[BaseMessage]:
    """Providers want a user's message first: the latest one that was dropped is put back if none opens the rest."""
    if kept and isinstance(kept[0], HumanMessage):
        return kept
    asked = [message for turn in dropped for message in turn if isinstance(message, HumanMessage)]
    return [*asked[-1:], *kept]
