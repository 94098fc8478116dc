"""Calls that have been admitted and have not ended, for the whole process.

Several handlers may see one call: a graph's and a callback's, or two callbacks. They find each other here, by the id
langchain-core gives the call, so that one ledger is charged once and the budgets of all of them hold.

Of a call that was cancelled nobody is told that it has ended. Such calls are forgotten long after they were presumed:
what is kept of them here would fill the memory of a service whose clients hang up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, KeysView
from typing import Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from budgeted_agents.integrations.langchain.callbacks.observed import Observed
from budgeted_agents.integrations.langchain.callbacks.received import Received
from budgeted_agents.integrations.langchain.governance.governance import Governance
from budgeted_agents.meter import Admission, ToolAdmission

_LATE = 3_600
"""Seconds behind the end of its hold in which a model call may still end, and have what was presumed corrected."""

_LONGEST_TOOL = 86_400
"""Seconds that a call of a tool may take to be recorded."""

_LOOKED_THROUGH = 1_024
"""Calls after which all are looked through for those that nobody will end."""


class Batch(Struct, eq=False):
    """Prompts of a text model that go in one request. LangChain gives the whole usage to the first answer, and none to
    the others.

    Attributes:
        is_counted: whether an answer has brought the usage of all.
    """

    is_counted: bool = False


class OpenModelCall(Struct, eq=False):
    """A model call in flight: what governs it, what was held for it, and what has come of its answer; and what it is
    sent together with, if it is not alone in its request.

    Attributes:
        invocation: the parameters that all prompts of one invocation come with; None if this is the only one.
    """

    governance: Governance
    observed: Observed
    admission: Admission
    invocation: object = None
    is_cut: bool = False
    batch: Batch | None = None
    _received: Received | None = None

    @property
    def received(self) -> Received:
        """What has come of a stream; made when something comes, because most answers come whole."""
        if self._received is None:
            self._received = Received()
        return self._received

    @property
    def is_partly_held(self) -> bool:
        """Whether the answer may run past what was held. Where its longest was held, the provider itself ends it, and
        counting it here, by a vocabulary that may not be the model's, could only cut short what is paid for."""
        return self.admission.granted < self.observed.longest

    @property
    def is_abandoned(self) -> bool:
        """Whether it was presumed long ago."""
        return self.governance.meter.clock() > self.admission.deadline + _LATE


class OpenToolCall(Struct, frozen=True, eq=False):
    """A tool call in flight, and what governs it."""

    governance: Governance
    admission: ToolAdmission

    @property
    def is_abandoned(self) -> bool:
        """Whether it was made so long ago that nobody will say how it ended."""
        return self.governance.meter.clock() > self.admission.started_at + _LONGEST_TOOL


CallT = TypeVar("CallT", OpenModelCall, OpenToolCall, Governance)


class OpenCalls(Generic[CallT]):
    """Calls by langchain-core's id, and there by the handler that admitted them.

    Events of one call come one after the other, so single operations on dicts are all the safety there has to be.

    Args:
        is_abandoned: whether nobody will say that a call has ended; None where somebody always does.

    Attributes:
        ids: of all calls here, as numbers, whose hash is not Python code.
    """

    def __init__(self, is_abandoned: Callable[[CallT], bool] | None = None) -> None:
        self._calls: dict[int, dict[Hashable, CallT]] = {}
        self.ids: KeysView[int] = self._calls.keys()
        self._is_abandoned: Callable[[CallT], bool] | None = is_abandoned
        self._look_at = _LOOKED_THROUGH

    def add(self, run_id: UUID, handler: Hashable, call: CallT) -> None:
        self._calls.setdefault(run_id.int, {})[handler] = call
        if len(self._calls) > self._look_at:
            self._forget_abandoned()

    def _forget_abandoned(self) -> None:
        if self._is_abandoned is not None:
            for id, calls in list(self._calls.items()):
                if all(map(self._is_abandoned, list(calls.values()))):
                    self._calls.pop(id, None)
        # So many are open: they are not looked through again for every call.
        self._look_at = 2 * max(_LOOKED_THROUGH, len(self._calls))

    def get(self, run_id: UUID, handler: Hashable) -> CallT | None:
        calls = self._calls.get(run_id.int)
        return calls.get(handler) if calls else None

    def of(self, run_id: UUID) -> list[tuple[Hashable, CallT]]:
        """Every handler that has admitted this call, and what it admitted, in that order."""
        calls = self._calls.get(run_id.int)
        return list(calls.items()) if calls else []

    def take(self, run_id: UUID, handler: Hashable) -> CallT | None:
        """Remove and return what a handler has admitted; None if it has admitted nothing."""
        calls = self._calls.get(run_id.int)
        if calls is None:
            return None
        call = calls.pop(handler, None)
        if not calls:
            self._calls.pop(run_id.int, None)
        return call

    def values(self) -> list[CallT]:
        """All calls, whoever admitted them."""
        return [call for calls in list(self._calls.values()) for call in calls.values()]

    def take_where(self, is_meant: Callable[[CallT], bool]) -> list[CallT]:
        """Remove and return the calls that are meant, whoever admitted them."""
        taken = []
        for id, calls in list(self._calls.items()):
            for handler, call in list(calls.items()):
                if is_meant(call) and self.take(UUID(int=id), handler) is not None:
                    taken.append(call)
        return taken

    def take_all(self, run_id: UUID) -> list[CallT]:
        return list(self._calls.pop(run_id.int, {}).values())


models: OpenCalls[OpenModelCall] = OpenCalls(lambda call: call.is_abandoned)
tools: OpenCalls[OpenToolCall] = OpenCalls(lambda call: call.is_abandoned)
handed_over: OpenCalls[Governance] = OpenCalls()
"""What governs a call that the model (a ``budgeted_model``) conducts itself, until the model takes it up."""


def of_invocation(parameters: object) -> list[OpenModelCall]:
    """The calls in flight whose prompts came with these very parameters."""
    return [call for call in models.values() if call.invocation is parameters]


def take_invocation(parameters: object) -> list[OpenModelCall]:
    """Remove and return them."""
    return models.take_where(lambda call: call.invocation is parameters)


def batch_of(parameters: object) -> Batch:
    """The batch of prompts that come with these parameters; a new one for the first of them."""
    batches = (call.batch for call in of_invocation(parameters))
    return next(filter(None, batches), None) or Batch()
