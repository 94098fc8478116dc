"""Tool calls: counted before they are made, recorded when they end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from budgeted_agents.ledgers.contract import Refusal, Reservation
from budgeted_agents.meter.booking import announce_presumed, close, give_back, write_down
from budgeted_agents.meter.meter import Meter, new_id
from budgeted_agents.meter.recording import parent_of
from budgeted_agents.meter.refusals import from_ledger
from budgeted_agents.meter.run import Run
from budgeted_agents.meter.steps import Steps
from budgeted_agents.traces import CallRecord
from budgeted_agents.traces.records.content import Content


class ToolAdmission(Struct, frozen=True):
    """A tool call that may be made; its ``content`` is what it says, if some recorder is to keep that."""

    id: str
    run: Run
    tool: str
    attribution: Mapping[str, str]
    started_at: float
    step: int | None = None
    reservation: Reservation | None = None
    parent: str = ""
    content: Content | None = None

    @property
    def counted(self) -> bool:
        """Whether some budget limits the tool."""
        return self.reservation is not None


class _Opening(Struct, frozen=True, gc=False):
    """What a report can say of a call whose worker died before it was recorded."""

    tool: str
    run: str
    step: int | None
    attribution: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "tool", **asdict(self), "attribution": dict(self.attribution)}


def admit_tool(
    meter: Meter, run: Run, tool: str, attribution: Mapping[str, str], *, step: int | None = None
) -> Steps[ToolAdmission]:
    """Count a tool call before it is made.

    Raises:
        BudgetExceeded: a limit on tool calls has been reached; the refusal has been noted in the session.
    """
    id, now = new_id(), meter.clock()
    reservation: Reservation | None = None
    holds = meter.plans.of_tool(attribution, tool, now).terms
    if holds:
        memo = _Opening(tool, run.id, step, attribution)
        reserve = partial(meter.ledger.reserve, id, holds, floor=0, ask=0, now=now, ttl=meter.hold_ttl)
        try:
            answer = yield partial(reserve, session=run.session, memo=memo)
        except BaseException:
            yield from give_back(meter, id, run.session)
            raise
        if answer.presumed:
            announce_presumed(meter, answer.presumed)
        if isinstance(answer, Refusal):
            error = from_ledger(answer, f"another call of tool {tool!r}")
            yield from meter.refused(run, error, attribution.get("node", ""))
            raise error
        reservation = answer
    parent = parent_of(meter.recorders) if meter.recorders else ""
    return ToolAdmission(id, run, tool, attribution, now, step, reservation, parent)


def cancel_tool(meter: Meter, admission: ToolAdmission) -> Steps[None]:
    """Give back what was held for a tool that was not called after all."""
    if admission.reservation is not None:
        yield from give_back(meter, admission.id, admission.run.session)


class EndedTool(Struct, frozen=True, gc=False):
    """A tool call that has ended, at ``ended_at`` (seconds since the epoch), perhaps by an ``error`` of this class; the
    rest as in ``ToolAdmission``."""

    id: str
    session: str
    run: str
    tool: str
    attribution: Mapping[str, str]
    started_at: float
    step: int | None
    ended_at: float
    error: str = ""

    def __str__(self) -> str:
        return f"A call of tool {self.tool!r}"

    def record(self) -> CallRecord:
        """What is to be remembered of it."""
        return CallRecord(**asdict(self), kind="tool", outcome="settled")

    def to_json(self) -> dict[str, Any]:
        """The record as the ledger keeps it."""
        return self.record().to_json()


def settle_tool(meter: Meter, admission: ToolAdmission, error: BaseException | None = None) -> Steps[EndedTool]:
    """Record the end of a tool call; a call that failed was made all the same."""
    ended = EndedTool(
        admission.id,
        admission.run.session,
        admission.run.id,
        admission.tool,
        admission.attribution,
        admission.started_at,
        admission.step,
        meter.clock(),
        type(error).__name__ if error else "",
    )
    if admission.counted:
        yield from close(meter, ended, meter.ledger.settle, admission, {})
    else:
        yield from write_down(meter, ended, admission)
    return ended
