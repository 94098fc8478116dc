"""The callback handlers that meter, and stop, whatever chat models and tools run in front of them.

They are synchronous with ``raise_error`` set: langchain-core swallows what an asynchronous handler raises on half of
its paths. They take ``on_chat_model_start`` themselves, because a handler without it makes langchain-core render the
whole history to a string at every call; events they do not need are switched off for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables.config import var_child_runnable_config
from msgspec.structs import replace

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.callbacks import endings, open_calls
from budgeted_agents.integrations.langchain.callbacks.observed import Observed, observe
from budgeted_agents.integrations.langchain.callbacks.open_calls import OpenModelCall
from budgeted_agents.integrations.langchain.callbacks.refused import Refusals
from budgeted_agents.integrations.langchain.callbacks.tool_events import ToolEvents
from budgeted_agents.integrations.langchain.callbacks.turns import in_turn
from budgeted_agents.integrations.langchain.calls.content import ModelContent
from budgeted_agents.integrations.langchain.governance import running_steps
from budgeted_agents.integrations.langchain.governance.configs import handlers_of
from budgeted_agents.integrations.langchain.governance.governance import SELF_METERED, Governance
from budgeted_agents.integrations.langchain.governance.in_force import current, may_block
from budgeted_agents.integrations.langchain.governance.joint import joined, joins
from budgeted_agents.meter import Admission, Meter, Steps, admit, adrive, drive, keep_alive
from budgeted_agents.meter.booking import give_back

_NOTHING: Mapping[str, Any] = MappingProxyType({})

_CANNOT_SHORTEN = (
    "The answer may have up to {longest:,} tokens, and a callback cannot shorten it: set max_tokens on the model, or "
    "wrap it with budgeted_model(model), which clamps the answer to what the money buys."
)


class GoverningHandler(ToolEvents):
    """Admits each model and tool call before it is made, and settles it when it has ended.

    Attributes:
        expected: whether calls hold an answer of the expected length instead of the longest one.
    """

    raise_error = True
    ignore_chain = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True
    ignore_agent = False
    expected = False

    def __init__(self, meter: Meter) -> None:
        # A ledger that waits for a disk must not do so on the event loop: then langchain-core uses a thread.
        self.run_inline = not meter.ledger.blocking
        # Events of tools go by this name too. A call that is neither counted nor written down leaves no record.
        self.ignore_agent = not (meter.policy.counts_tools or meter.recorders)
        self._refused = Refusals()

    # Copies made on the way are the same handler: they must not charge twice.
    def __copy__(self) -> GoverningHandler:
        return self

    def __deepcopy__(self, memo: object) -> GoverningHandler:
        return self

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        metadata = metadata or {}
        governance = self.governance_of(metadata)
        if SELF_METERED in metadata and self._handed_over(governance, run_id):
            return
        if self.run_inline:
            drive(self._start(governance, messages[0], run_id, parent_run_id, metadata, kwargs))
        else:
            with in_turn(run_id) as is_made:
                if is_made:
                    drive(self._start(governance, messages[0], run_id, parent_run_id, metadata, kwargs))

    def _start(
        self,
        governance: Governance,
        messages: list[BaseMessage],
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: dict[str, Any],
        kwargs: dict[str, Any],
        may_wait: Callable[[], bool] = may_block,
    ) -> Steps[None]:
        """Admit a call, unless that was done already, where the call could be awaited."""
        params = kwargs.get("invocation_params")
        invocation = params if kwargs.get("batch_size", 1) > 1 else None
        try:
            if run_id.int in open_calls.models.ids:
                if any(call.governance.is_within(governance) for _, call in open_calls.models.of(run_id)):
                    return
                governance = yield from self._with_earlier(governance, run_id)
            if invocation is not None and open_calls.of_invocation(invocation):
                may_wait = _never  # what it might wait for is held by prompts that are sent together with it
            observed = observe(governance, messages, metadata, params or _NOTHING, expected=self.expected)
            admission = yield from self._hold(governance, observed, metadata, parent_run_id, may_wait)
            if governance.meter.keeps_content:
                admission = replace(admission, content=ModelContent(messages))
        except BaseException:
            # Neither this call is made nor those that were to be sent with it, and nobody else is told so.
            together = [] if invocation is None else open_calls.take_invocation(invocation)
            for call in [*open_calls.models.take_all(run_id), *together]:
                yield from give_back(call.governance.meter, call.admission.id, call.governance.run.session)
            raise
        open_calls.models.add(run_id, self, OpenModelCall(governance, observed, admission, invocation))
        if observed.unpriced:
            message = f"No price is known for {observed.quote.model}: its calls are counted at $0"
            governance.meter.publish("unmetered", message, governance.run.session)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any) -> None:
        self.on_chat_model_start(serialized, [[HumanMessage(prompts[0])]], run_id=run_id, **kwargs)
        call = open_calls.models.get(run_id, self)
        if call is not None and kwargs.get("batch_size", 1) > 1:
            call.batch = open_calls.batch_of(kwargs.get("invocation_params"))

    def _handed_over(self, governance: Governance, run_id: UUID) -> bool:
        """Leave a call to the model that conducts it, together with whatever else governs it; False if what leads the
        call keeps another session or ledger, so that it has to be watched from here."""
        others = [other for _, other in open_calls.handed_over.of(run_id)]
        lead = current() or next(iter(others), governance)
        if not joins(lead, governance):
            return False
        open_calls.handed_over.add(run_id, self, governance)
        return True

    def _with_earlier(self, governance: Governance, run_id: UUID) -> Steps[Governance]:
        """Take over what other handlers have admitted this call with, if it is kept in the same place: it is given back
        and held anew together with our own."""
        for handler, call in open_calls.models.of(run_id):
            if joins(call.governance, governance):
                open_calls.models.take(run_id, handler)
                yield from give_back(call.governance.meter, call.admission.id, call.governance.run.session)
                lead, other = call.governance, governance
                governance = joined(other, [lead]) if current() is other else joined(lead, [other])
        return governance

    def _hold(
        self,
        governance: Governance,
        observed: Observed,
        metadata: dict[str, Any],
        parent_run_id: UUID | None,
        may_wait: Callable[[], bool],
    ) -> Steps[Admission]:
        call, quote = observed.call, observed.quote
        # What was refused is refused again at once, while nothing has changed: retries would only repeat it.
        if self._refused and (known := (yield from self._refused.still(governance.meter, parent_run_id, observed))):
            raise self._refused_by(governance, known).refuse(known, metadata)
        try:
            if "depth" in governance.meter.policy.caps:
                yield from governance.check_depth(metadata, call.attribution)
            step = metadata.get("langgraph_step")
            admission = yield from admit(governance.meter, governance.run, call, step=step, may_wait=may_wait)
        except BudgetExceeded as refusal:
            advised = _advised(refusal, observed)
            yield from self._refused.add(governance.meter, parent_run_id, observed, advised)
            raise self._refused_by(governance, advised).refuse(advised, metadata) from None
        if quote.output_limit < observed.longest:
            flag = f"held for {quote.output_limit:,} of {observed.longest:,} output tokens"
            return replace(admission, flags=(*admission.flags, flag))
        return admission

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        call = open_calls.models.get(run_id, self)
        if call is None:
            return
        call.received.add(token, chunk)
        outruns = call.is_partly_held and call.received.exceeds(call.admission.granted, call.observed.quote.model)
        if outruns and (refusal := _hold_more(call)):
            raise call.governance.refuse(endings.cut(call, refusal), kwargs.get("metadata") or {})
        call.admission = drive(keep_alive(call.governance.meter, call.admission))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        call = open_calls.models.take(run_id, self)
        if call is not None:
            self._end(endings.answered(call, response))
        else:
            open_calls.handed_over.take(run_id, self)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        call = open_calls.models.take(run_id, self)
        if call is not None:
            self._end(endings.failed(call, error, kwargs.get("response")))
        else:
            open_calls.handed_over.take(run_id, self)

    def _end(self, steps: Steps[Any]) -> None:
        if self._refused:
            self._refused.clear()  # money may have come back
        drive(steps)


class BudgetHandler(GoverningHandler):
    """Governs the calls of one run.

    Attributes:
        governance: the meter and run the calls belong to.
    """

    def __init__(self, governance: Governance) -> None:
        super().__init__(governance.meter)
        self.governance = governance

    def governance_of(self, metadata: dict[str, Any]) -> Governance:
        return self.governance

    def _refused_by(self, governance: Governance, refusal: BudgetExceeded) -> Governance:
        """The innermost run, if its calls are charged to the budget too: the exception comes out there first."""
        inner = current()
        if inner is None or inner.run.depth <= governance.run.depth or refusal.budget not in inner.meter.policy.by_name:
            return governance
        return inner

    async def start_on_loop(
        self,
        messages: list[BaseMessage],
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: dict[str, Any],
        kwargs: dict[str, Any],
    ) -> None:
        """Admit a call in the task it is made in, where it may wait for money without holding up anything else."""
        running_steps.begun(run_id.int)
        if SELF_METERED in metadata:
            return
        governance = joined(self.governance, self._beside(metadata))
        steps = self._start(governance, messages, run_id, parent_run_id, metadata, kwargs, lambda: True)
        try:
            await adrive(steps, blocking=governance.meter.ledger.blocking)
        except BaseException:
            running_steps.ended(run_id.int)
            raise

    def _beside(self, metadata: dict[str, Any]) -> list[Governance]:
        """What callbacks that a config hands down add to this run's budgets: they would have to give the hold back, and
        hold anew without waiting."""
        callbacks = [
            each for each in handlers_of(var_child_runnable_config.get()) if isinstance(each, GoverningHandler)
        ]
        found = [each.governance_of(metadata) for each in callbacks if not isinstance(each, BudgetHandler)]
        return [each for each in found if joins(each, self.governance)]

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        running_steps.answered(run_id.int, response)
        self.governance.answered(run_id.int, response)
        super().on_llm_end(response, run_id=run_id, **kwargs)
        running_steps.ended(run_id.int)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        super().on_llm_error(error, run_id=run_id, **kwargs)
        running_steps.ended(run_id.int)


def _never() -> bool:
    return False


def _hold_more(call: OpenModelCall) -> BudgetExceeded | None:
    """Hold twice as much for a stream that goes on, as far as it may go; why not, if there is no more."""
    governance, held = call.governance, call.admission
    longer = replace(call.observed.quote, output_limit=min(2 * held.granted, call.observed.longest))
    wanted = replace(call.observed.call, quotes=(longer,), useful_output=longer.output_limit)
    try:
        admission = drive(admit(governance.meter, governance.run, wanted, step=held.step, may_wait=may_block))
    except BudgetExceeded as refusal:
        return refusal
    call.admission = replace(admission, started_at=held.started_at, flags=held.flags, content=held.content)
    drive(give_back(governance.meter, held.id, governance.run.session))
    return None


def _advised(refusal: BudgetExceeded, observed: Observed) -> BudgetExceeded:
    """The refusal with what can be done about a worst case that does not fit."""
    if refusal.unit not in ("usd", "tokens"):
        return refusal
    advice = _CANNOT_SHORTEN.format(longest=observed.longest)
    return BudgetExceeded(f"{refusal.message} {advice}", **refusal.particulars)
