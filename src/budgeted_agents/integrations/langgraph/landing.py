"""Landing: how a run ends when its budget is spent, with a useful answer and a history that a provider accepts.

The finalizer is an ordinary deferred node: it runs once, last, after every sibling has finished and kept its results,
and it alone may spend the landing reserve.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded
from budgeted_agents.integrations.langchain import introspect
from budgeted_agents.integrations.langchain.governance import Governance, current, landing
from budgeted_agents.integrations.langchain.governed_model import governed
from budgeted_agents.integrations.langchain.pruning import shortened
from budgeted_agents.integrations.langgraph import pregel
from budgeted_agents.meter import Steps, adrive, drive

if TYPE_CHECKING:
    from budgeted_agents.integrations.langgraph.settings import Settings

LANDING_PROMPT = (
    "The budget for this task is spent, so no tool can be called any more. Using only what stands above, give the best "
    "short answer now, and say in one sentence what is missing."
)
"""What the default finalizer asks of the cheapest tier."""

LANDING_ANSWER = 1_024
"""Longest answer of the default finalizer, in tokens."""

NOT_CALLED = "This tool was not called: the budget was spent."
"""The result that a tool call gets which the budget cut off."""

Update = Any


class Appended(dict[str, list[BaseMessage]]):
    """An update of the default finalizer's: messages to put behind the history."""


class Finalizer:
    """The node a run lands on: completes the history, then lets the user's finalizer or the default one answer."""

    def __init__(self, settings: Settings, own: Any = None) -> None:
        self._settings = settings
        self._own = None if own is None else pregel.coerce_to_runnable(own, name=settings.finalizer_name, trace=True)

    def run(self, state: Any, config: RunnableConfig) -> Update:
        governance = current()
        if governance is None or governance.run.landed:
            return None
        if self._settings.rearms and governance.run.rearm():
            return Command(goto=self._settings.finalizer_name)
        missing = missing_results(messages_of(state))
        with landing(governance.own):
            if self._own is None:
                update = self._default(governance, state, missing, config)
            else:
                update = self._own_update(governance, state, missing, config)
        drive(note_landing(governance))
        return self._completed(update, missing, state)

    async def arun(self, state: Any, config: RunnableConfig) -> Update:
        governance = current()
        if governance is None or governance.run.landed:
            return None
        if self._settings.rearms and governance.run.rearm():
            return Command(goto=self._settings.finalizer_name)
        missing = missing_results(messages_of(state))
        with landing(governance.own):
            if self._own is None:
                update = await self._adefault(governance, state, missing, config)
            else:
                update = await self._own_aupdate(governance, state, missing, config)
        await adrive(note_landing(governance), blocking=governance.meter.ledger.blocking)
        return self._completed(update, missing, state)

    def _completed(self, update: Update, missing: Sequence[ToolMessage], state: Any) -> Update:
        """The update with the missing results; with the whole history where an update replaces it."""
        if not self._settings.replaces_messages:
            return merged(update, missing)
        if isinstance(update, Appended):
            return {"messages": [*messages_of(state), *missing, *update["messages"]]}
        return merged(update, [*messages_of(state), *missing] if missing and not _holds_messages(update) else [])

    def _own_update(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        """The user's finalizer; if not even the landing reserve covers it, the partial state."""
        assert self._own is not None
        governance.run.landed = "by the graph's own finalizer"
        try:
            return self._own.invoke(with_messages(state, missing), config)
        except BudgetExceeded:
            return _plainly(governance, state, "the budget does not cover it")

    async def _own_aupdate(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        assert self._own is not None
        governance.run.landed = "by the graph's own finalizer"
        try:
            return await self._own.ainvoke(with_messages(state, missing), config)
        except BudgetExceeded:
            return _plainly(governance, state, "the budget does not cover it")

    def _default(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        for model, prompt, kwargs in _ways_to_answer(governance, messages_of(with_messages(state, missing))):
            try:
                return _answered(governance, model.invoke(prompt, config, **kwargs))
            except BudgetedAgentsError:
                continue
            except Exception as error:  # noqa: BLE001 -- whatever failed, what was paid for is worth landing with
                return _plainly(governance, state, type(error).__name__)
        return _plainly(governance, state)

    async def _adefault(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        for model, prompt, kwargs in _ways_to_answer(governance, messages_of(with_messages(state, missing))):
            try:
                return _answered(governance, await model.ainvoke(prompt, config, **kwargs))
            except BudgetedAgentsError:
                continue
            except Exception as error:  # noqa: BLE001 -- likewise
                return _plainly(governance, state, type(error).__name__)
        return _plainly(governance, state)


def _ways_to_answer(
    governance: Governance, history: Sequence[BaseMessage]
) -> Iterator[tuple[Any, list[BaseMessage], dict[str, Any]]]:
    """Calls of the cheapest tier over ever less of the history, each with its arguments."""
    tiers = governance.models
    if not tiers or not history:
        return
    models = [tier.model for tier in tiers]
    limited = introspect.limit_field(models[0]) is not None
    kwargs = introspect.with_limit(models[0], {}, LANDING_ANSWER) if limited else {}
    versions = [list(history), *shortened(history)]
    for version in dict.fromkeys((0, len(versions) // 4, len(versions) // 2, len(versions) - 1)):
        yield governed(models), [*as_plain_text(versions[version]), HumanMessage(LANDING_PROMPT)], kwargs


def _answered(governance: Governance, answer: BaseMessage) -> Update:
    governance.run.landed = "by the default finalizer"
    return Appended(messages=[answer])


def _plainly(governance: Governance, state: Any, failure: str = "") -> Update:
    """The partial state and a plain sentence saying why."""
    run = governance.run
    run.landed = f"with the partial state{f' (the finalizer failed: {failure})' if failure else ''}"
    if messages_of(state) is None or not _has_messages(state):
        return None
    why = f" ({run.exhausted})" if run.exhausted else ""
    return Appended(messages=[AIMessage(f"I had to stop here because the budget for this task is spent.{why}")])


def _holds_messages(update: Update) -> bool:
    return isinstance(update, Mapping) and "messages" in update


def note_landing(governance: Governance) -> Steps[None]:
    """Write down how the run landed, for the report."""
    run, now = governance.run, governance.meter.clock()
    why = str(run.exhausted) if run.exhausted else ""
    body = {"kind": "landing", "message": f"Landed {run.landed}", "why": why, "run": run.id}
    try:
        yield partial(governance.meter.ledger.note, run.session, body, now=now)
    except BudgetedAgentsError as error:  # a report without this line is better than a lost answer
        governance.meter.publish("unsettled", f"The landing could not be noted: {error}", run.session)


# -- histories ------------------------------------------------------------------------------------------------------


def _has_messages(state: Any) -> bool:
    return isinstance(state, list) or "messages" in state if isinstance(state, Mapping) else hasattr(state, "messages")


def messages_of(state: Any) -> list[AnyMessage]:
    """The message history in a state of any shape; empty if it has none."""
    found = state if isinstance(state, list) else _field(state, "messages")
    return list(convert_to_messages(found)) if isinstance(found, list) else []  # type: ignore[arg-type]


def _field(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, Mapping) else getattr(state, name, None)


def with_messages(state: Any, more: Sequence[BaseMessage]) -> Any:
    """The state with messages appended; the state itself is left as it is."""
    if not more:
        return state
    history = [*messages_of(state), *more]
    if isinstance(state, list):
        return history
    if isinstance(state, Mapping):
        return {**state, "messages": history}
    if hasattr(state, "model_copy"):
        return state.model_copy(update={"messages": history})
    import dataclasses

    return dataclasses.replace(state, messages=history)


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


def merged(update: Update, missing: Sequence[BaseMessage]) -> Update:
    """The finalizer's update behind the missing results."""
    if not missing:
        return update
    if update is None:
        return {"messages": list(missing)}
    if isinstance(update, Mapping):
        own = update.get("messages") or []
        return {**update, "messages": [*missing, *(own if isinstance(own, list) else [own])]}
    return [
        Command(update={"messages": list(missing)}),
        update if isinstance(update, Command) else Command(update=update),
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
