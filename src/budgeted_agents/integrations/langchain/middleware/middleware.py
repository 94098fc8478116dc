"""``BudgetMiddleware``: an agent of ``create_agent`` or ``create_deep_agent`` under a budget, by one changed line.

It holds no rule of its own. A model call is handed to a ``budgeted_model`` made of the agent's own model and the tiers
below it, so pruning, stepping down, clamping, reserving and settling are the steps of every other governed call. Tools,
and whatever is called inside them, a sub-agent too, spend from the same budget: the run's handler is found by the
agent's state, and handed down by callbacks.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NotRequired, TypedDict, TypeVar, get_type_hints

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import PrivateStateAttr
except ImportError as error:
    raise ImportError(
        "BudgetMiddleware works in agents of LangChain's create_agent, which is not installed. "
        'Install it: pip install "budgeted-agents[langchain]"'
    ) from error
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from budgeted_agents.budget import BudgetLike, as_policy
from budgeted_agents.budget.attribution import checked
from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded, InvalidGraph
from budgeted_agents.integrations.langchain.callbacks import runs
from budgeted_agents.integrations.langchain.callbacks.handler import BudgetHandler
from budgeted_agents.integrations.langchain.governance.configs import namespace, session_of
from budgeted_agents.integrations.langchain.governance.governance import RUN_CHANNEL, Governance
from budgeted_agents.integrations.langchain.governance.in_force import governed_by, in_force, landing
from budgeted_agents.integrations.langchain.governance.interrupts import REFUSED
from budgeted_agents.integrations.langchain.governance.spending import session_report
from budgeted_agents.integrations.langchain.governance.topping_up import top_up_session
from budgeted_agents.integrations.langchain.middleware.channel import RunChannel, channel_of
from budgeted_agents.integrations.langchain.middleware.landing import (
    Landing,
    acalled,
    called,
)
from budgeted_agents.integrations.langchain.middleware.refusals import AgentGovernance, refusal_to_land
from budgeted_agents.integrations.langchain.middleware.step_down import StepDown
from budgeted_agents.integrations.langchain.models.governed_model import ModelLike
from budgeted_agents.integrations.langchain.models.landing import note_landing
from budgeted_agents.ledgers import Balance, LedgerLike
from budgeted_agents.ledgers.topping_up import amounts_of
from budgeted_agents.meter import BillingTable, Listener, adrive, drive, new_id, open_meter
from budgeted_agents.money import UsdLike
from budgeted_agents.prices import PriceBook
from budgeted_agents.reports import SpendReport
from budgeted_agents.traces import Recorder
from budgeted_agents.traces.records.journal import JournalLike

ModelAnswer = ModelResponse[Any] | ExtendedModelResponse[Any]
HookT = TypeVar("HookT", bound=Callable[..., Any])


def _signed(hook: HookT) -> HookT:
    """A hook that carries its signature: it is asked for at every call, and found out anew where it is not at hand."""
    hook.__signature__ = inspect.signature(hook)  # type: ignore[attr-defined]
    return hook


class BudgetMiddleware(AgentMiddleware[Any, Any, Any]):
    """Keeps an agent, with its tools, its sub-agents and its other middleware, inside a budget.

    Args:
        budget: one ``Budget``, several, or a policy file.
        ledger: where money is kept: a ledger, a URL (``"sqlite:///spend.db"``), or None for one in memory.
        models: cheaper models to step down to, best first: LiteLLM names or chat models. The agent's own model comes
            before them, and need not be named.
        prices: what models cost; by default, LiteLLM's list.
        listeners: called with every ``BudgetEvent``.
        attribution: dimensions that hold for every run of the agent, e.g. ``{"workflow": "support"}``.
        finalizer: what a run lands with: a function of the state that returns messages, a text, or an update of the
            state. By default, a short answer by the cheapest tier.
        billing: which failures are certainly unbilled.
        journal: where calls are written down: a folder, False for nowhere, None for beside a ledger in a file.
        recorders: what else records calls, e.g. an ``OpenTelemetryRecorder``.

    Raises:
        InvalidBudget, InvalidPolicy, InvalidLedger, InvalidAttribution, InvalidGraph: saying what is wrong and where.
    """

    def __init__(
        self,
        *,
        budget: BudgetLike,
        ledger: LedgerLike = None,
        models: Sequence[ModelLike] = (),
        prices: PriceBook | None = None,
        listeners: Sequence[Listener] = (),
        attribution: Mapping[str, str] | None = None,
        finalizer: Any = None,
        billing: BillingTable | None = None,
        journal: JournalLike = None,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        super().__init__()
        self.meter = open_meter(
            as_policy(budget),
            place="BudgetMiddleware",
            ledger=ledger,
            prices=prices,
            listeners=listeners,
            billing=billing,
            journal=journal,
            recorders=recorders,
        )
        self.state_schema = _state_with(RunChannel(self._open_run))
        self.tools = []
        self._attribution = checked(attribution or {}, place="attribution=")
        self._finalizer = _checked_finalizer(finalizer)
        self._models = StepDown(models)
        self._latest_session = ""

    def spend(self, config: RunnableConfig | None = None) -> SpendReport:
        """What a session has spent so far, and why: balances, calls, downgrades, refusals, landing.

        Args:
            config: names the session by ``thread_id``; without one, the latest run in this process.
        """
        return session_report(self.meter, session_of(config) or self._latest_session)

    def top_up(
        self,
        config: RunnableConfig,
        *,
        usd: UsdLike | None = None,
        tokens: int | None = None,
        model_calls: int | None = None,
        tool_calls: int | Mapping[str, int] | None = None,
        budget: str | None = None,
        by: str,
        reason: str = "",
        id: str | None = None,
    ) -> tuple[Balance, ...]:
        """Raise a budget's limits for good, for the accounts that a run with this config is charged to.

        Arguments, return value and errors are those of a governed graph's ``top_up``. A run that was suspended then
        goes on at the refused call with ``agent.invoke(None, config)``.
        """
        amounts = amounts_of(usd=usd, tokens=tokens, model_calls=model_calls, tool_calls=tool_calls)
        id = new_id() if id is None else id
        return top_up_session(
            self.meter, self._attribution, config, amounts, budget=budget, id=id, by=by, reason=reason
        )

    # -- model calls -------------------------------------------------------------------------------------------------

    @_signed
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelAnswer:
        """Conduct a model call; land if it is refused."""
        budget, metadata = self._run()
        with governed_by(budget):
            try:
                drive(runs.enter(budget.governance, metadata))
                return handler(request.override(model=self._models.governed(request.model)))
            except REFUSED as error:
                refusal = refusal_to_land(budget.governance, metadata, error)
            return self._land(Landing(budget.governance, request, refusal), handler)

    @_signed
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelAnswer:
        """Conduct a model call; land if it is refused."""
        budget, metadata = self._run()
        blocking = budget.governance.meter.ledger.blocking
        with governed_by(budget):
            try:
                await adrive(runs.enter(budget.governance, metadata), blocking=blocking)
                return await handler(request.override(model=self._models.governed(request.model)))
            except REFUSED as error:
                refusal = refusal_to_land(budget.governance, metadata, error)
            return await self._aland(Landing(budget.governance, request, refusal), handler)

    def _land(self, end: Landing, handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]) -> ModelAnswer:
        if end.is_passed_on:
            return end.plainly()
        with landing(end.governance.own):
            answer = self._own_answer(end) if self._finalizer is not None else _default_answer(end, handler)
        drive(note_landing(end.governance))
        return answer

    async def _aland(
        self, end: Landing, handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelAnswer:
        if end.is_passed_on:
            return end.plainly()
        with landing(end.governance.own):
            own = self._finalizer is not None
            answer = await (self._own_aanswer(end) if own else _default_aanswer(end, handler))
        await adrive(note_landing(end.governance), blocking=end.governance.meter.ledger.blocking)
        return answer

    def _own_answer(self, end: Landing) -> ModelAnswer:
        try:
            return end.finalized(called(self._finalizer, end.state()))
        except BudgetExceeded:
            return end.plainly("the budget does not cover it")

    async def _own_aanswer(self, end: Landing) -> ModelAnswer:
        try:
            return end.finalized(await acalled(self._finalizer, end.state()))
        except BudgetExceeded:
            return end.plainly("the budget does not cover it")

    # -- runs --------------------------------------------------------------------------------------------------------

    def _run(self) -> tuple[BudgetHandler, Mapping[str, Any]]:
        """The handler of the run this is called in, and the metadata of the task."""
        config: RunnableConfig = var_child_runnable_config.get() or {}
        channel = channel_of(config)
        if channel is None:
            handler = self._open_run(config, in_force())
        else:
            handler = channel.opened or channel.handler(config, in_force())
        if isinstance(handler.governance, AgentGovernance):
            handler.governance.tools_have_ended()
        return handler, config.get("metadata") or {}

    def _open_run(self, config: RunnableConfig, outer: BaseCallbackHandler | None) -> BudgetHandler:
        governance: Governance | None = getattr(outer, "governance", None)
        place = namespace(config.get("metadata") or {}).rpartition("|")
        kind = partial(AgentGovernance, place=place[0] + place[1])
        named = _named_by_agent(config, self.name)
        handler = runs.open_run(self.meter, named, governance, self._attribution, kind=kind)
        self._latest_session = handler.governance.run.session
        return handler


def _default_answer(end: Landing, handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]) -> ModelAnswer:
    for request in end.requests():
        try:
            if answer := end.answered(request, handler(request)):
                return answer
        except BudgetedAgentsError:
            continue
        except Exception as error:  # noqa: BLE001 -- whatever failed, what was paid for is worth landing with
            return end.plainly(type(error).__name__)
    return end.plainly()


async def _default_aanswer(
    end: Landing, handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
) -> ModelAnswer:
    for request in end.requests():
        try:
            if answer := end.answered(request, await handler(request)):
                return answer
        except BudgetedAgentsError:
            continue
        except Exception as error:  # noqa: BLE001 -- likewise
            return end.plainly(type(error).__name__)
    return end.plainly()


def _state_with(channel: RunChannel) -> Any:
    """The state schema of an agent with one private channel more."""
    fields = {**get_type_hints(AgentState, include_extras=True)}
    fields[RUN_CHANNEL] = NotRequired[Annotated[Any, channel, PrivateStateAttr]]
    return TypedDict("BudgetState", fields)  # type: ignore[operator]


def _named_by_agent(config: RunnableConfig, name: str) -> RunnableConfig:
    """The config of a task of an agent, as if it were of the node the agent runs in: budgets are told apart by it."""
    metadata = config.get("metadata") or {}
    around = namespace(metadata).split("|")[-2:-1]
    node = around[0].partition(":")[0] if around else name
    return {**config, "metadata": {**metadata, "langgraph_node": node}}


def _checked_finalizer(finalizer: Any) -> Any:
    if finalizer is None or callable(finalizer) or hasattr(finalizer, "invoke"):
        return finalizer
    remedy = "Give a function of the state, e.g. def wrap_up(state): ..."
    raise InvalidGraph("is no function", field="finalizer", value=finalizer, place="BudgetMiddleware", remedy=remedy)
