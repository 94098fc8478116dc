"""Landing: how a run ends when its budget is spent, with a useful answer and a history that a provider accepts.

The finalizer is an ordinary deferred node: it runs once, last, after every sibling has finished and kept its results,
and it alone may spend the landing reserve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Overwrite

from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.integrations.langchain.governance.in_force import current, landing, of_graph
from budgeted_agents.integrations.langchain.models.landing import (
    NO_ANSWER,
    made_from_unfinished,
    missing_results,
    note_landing,
    stopped_answer,
    unfinished,
    ways_to_answer,
)
from budgeted_agents.integrations.langgraph import pregel
from budgeted_agents.meter import adrive, drive

if TYPE_CHECKING:
    from budgeted_agents.integrations.langgraph.settings import Settings

Update = Any


class Appended(dict[str, list[BaseMessage]]):
    """An update of the default finalizer's: messages to put behind the history."""


class Finalizer:
    """The node a run lands on: completes the history, then lets the user's finalizer or the default one answer."""

    def __init__(self, settings: Settings, own: Any = None) -> None:
        self._settings = settings
        self._own = None if own is None else pregel.coerce_to_runnable(own, name=settings.finalizer_name, trace=True)

    def run(self, state: Any, config: RunnableConfig) -> Update:
        governance = _to_land()
        if governance is None or governance.run.landed:
            return None
        if self._settings.rearms and governance.run.rearm():
            return Command(goto=self._settings.finalizer_name)
        self._settings.landings.come_to(governance)
        missing = missing_results(messages_of(state))
        with landing(_reserves(governance)):
            if self._own is None:
                update = self._default(governance, state, missing, config)
            else:
                update = self._own_update(governance, state, missing, config)
        drive(note_landing(governance))
        return self._completed(update, missing, state)

    async def arun(self, state: Any, config: RunnableConfig) -> Update:
        governance = _to_land()
        if governance is None or governance.run.landed:
            return None
        if self._settings.rearms and governance.run.rearm():
            return Command(goto=self._settings.finalizer_name)
        self._settings.landings.come_to(governance)
        missing = missing_results(messages_of(state))
        with landing(_reserves(governance)):
            if self._own is None:
                update = await self._adefault(governance, state, missing, config)
            else:
                update = await self._own_aupdate(governance, state, missing, config)
        await adrive(note_landing(governance), blocking=governance.meter.ledger.blocking)
        return self._completed(update, missing, state)

    def _completed(self, update: Update, missing: Sequence[ToolMessage], state: Any) -> Update:
        """The update with the missing results; with the whole history where an update replaces it."""
        if _is_history(state):
            return self._completed_history(update, missing, state)
        if not self._settings.replaces_messages:
            return merged(update, missing)
        if isinstance(update, Appended):
            return {"messages": [*messages_of(state), *missing, *update["messages"]]}
        return merged(update, [*messages_of(state), *missing] if missing and not _holds_messages(update) else [])

    def _completed_history(self, update: Update, missing: Sequence[ToolMessage], state: Any) -> Update:
        """Likewise, for a state that is nothing but the history."""
        is_ours = isinstance(update, Appended)
        own = update["messages"] if is_ours else update
        before: list[BaseMessage] = list(missing)
        if self._settings.replaces_messages:
            says_nothing = own is None or (isinstance(own, Command) and own.update is None)
            before = [*messages_of(state), *missing] if is_ours or (missing and says_nothing) else []
        if not before:
            return own
        if own is None or isinstance(own, list):
            return [*before, *(own or [])]
        return [Command(update=before), own if isinstance(own, Command) else Command(update=own)]

    def _own_update(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        """The user's finalizer; if not even the landing reserve covers it, the partial state."""
        assert self._own is not None
        governance.run.landed = "by the graph's own finalizer"
        try:
            return self._own.invoke(_handed(governance, state, missing), config)
        except BudgetExceeded:
            return _plainly(governance, state, "the budget does not cover it")

    async def _own_aupdate(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        assert self._own is not None
        governance.run.landed = "by the graph's own finalizer"
        try:
            return await self._own.ainvoke(_handed(governance, state, missing), config)
        except BudgetExceeded:
            return _plainly(governance, state, "the budget does not cover it")

    def _default(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        for model, prompt, kwargs in ways_to_answer(governance, messages_of(with_messages(state, missing))):
            try:
                return _answered(governance, state, model.invoke(prompt, config, **kwargs))
            except BudgetedAgentsError:
                continue
            except Exception as error:  # noqa: BLE001 -- whatever failed, what was paid for is worth landing with
                return _plainly(governance, state, type(error).__name__)
        return _plainly(governance, state)

    async def _adefault(
        self, governance: Governance, state: Any, missing: Sequence[ToolMessage], config: RunnableConfig
    ) -> Update:
        for model, prompt, kwargs in ways_to_answer(governance, messages_of(with_messages(state, missing))):
            try:
                return _answered(governance, state, await model.ainvoke(prompt, config, **kwargs))
            except BudgetedAgentsError:
                continue
            except Exception as error:  # noqa: BLE001 -- likewise
                return _plainly(governance, state, type(error).__name__)
        return _plainly(governance, state)


def _to_land() -> Governance | None:
    """The run that lands: the graph's, or that of the agent which the graph is, if it is the agent's budget that is
    spent."""
    graph = of_graph()
    return graph if graph is not None and graph.run.exhausted is not None else current()


def _reserves(governance: Governance) -> frozenset[str]:
    """The budgets whose landing reserve may be spent: calls made here are the agent's too, if the graph is one."""
    inner = current()
    return governance.own if inner is None else governance.own | inner.own


def _handed(governance: Governance, state: Any, missing: Sequence[BaseMessage]) -> Any:
    """What the user's finalizer is handed: the state, with all there is to answer from among its messages."""
    found = unfinished(governance) if isinstance(state, Mapping) or _has_messages(state) else []
    return with_messages(state, [*missing, *found])


def _answered(governance: Governance, state: Any, answer: AIMessage) -> Update:
    if not answer.text.strip():
        return _plainly(governance, state, NO_ANSWER, answer)
    governance.run.landed = "by the default finalizer"
    return Appended(messages=[made_from_unfinished(governance, answer)])


def _plainly(governance: Governance, state: Any, failure: str = "", empty: BaseMessage | None = None) -> Update:
    """The partial state and a plain sentence saying why, in the ``empty`` answer if there is one."""
    run = governance.run
    run.landed = f"with the partial state{f' (the finalizer failed: {failure})' if failure else ''}"
    if not _has_messages(state):
        return None
    return Appended(messages=[stopped_answer(governance, empty)])


def _holds_messages(update: Update) -> bool:
    return isinstance(update, Mapping) and "messages" in update


# -- histories ------------------------------------------------------------------------------------------------------


def _has_messages(state: Any) -> bool:
    if isinstance(state, Mapping):
        return "messages" in state
    return _is_history(state) or hasattr(state, "messages")


def _is_history(state: Any) -> bool:
    """Whether a state is nothing but messages. A list of anything else is none of our business."""
    return isinstance(state, list) and bool(state) and all(isinstance(each, BaseMessage) for each in state)


def messages_of(state: Any) -> list[AnyMessage]:
    """The message history in a state of any shape; empty if it has none."""
    found = state if _is_history(state) else _field(state, "messages")
    return list(convert_to_messages(found)) if isinstance(found, list) else []  # type: ignore[arg-type]


def _field(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, Mapping) else getattr(state, name, None)


def with_messages(state: Any, more: Sequence[BaseMessage]) -> Any:
    """The state with messages appended; the state itself is left as it is."""
    if not more:
        return state
    history = [*messages_of(state), *more]
    if _is_history(state):
        return history
    if isinstance(state, Mapping):
        return {**state, "messages": history}
    if hasattr(state, "model_copy"):
        return state.model_copy(update={"messages": history})
    import dataclasses

    return dataclasses.replace(state, messages=history)


def merged(update: Update, missing: Sequence[BaseMessage]) -> Update:
    """The finalizer's update behind the missing results."""
    if not missing:
        return update
    if update is None:
        return {"messages": list(missing)}
    if isinstance(update, Mapping):
        own = update.get("messages") or []
        if isinstance(own, Overwrite):  # it takes the place of the history, in which the finalizer has seen them
            return update
        return {**update, "messages": [*missing, *(own if isinstance(own, list | tuple) else [own])]}
    others = update if isinstance(update, list | tuple) else [update]
    return [
        Command(update={"messages": list(missing)}),
        *(each if isinstance(each, Command) else Command(update=each) for each in others),
    ]
