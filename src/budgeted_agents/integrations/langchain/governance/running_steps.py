"""What a step of a run (a node of a graph, a call of a tool) has to pass on to whatever it is a part of: what model
calls made in it have answered, should a later one be refused, and a refusal that ended something inside it.

A step that asks several models at once, as ``asyncio.gather`` does, fails with the first call that is refused, and the
others go on. What they answer is paid for, so the step ends when they have.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, Token
from typing import Any, Self

from langchain_core.outputs import LLMResult

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.governance import Governance

_LONGEST = 120.0
"""Seconds for which a refused step waits for a call: longer than nearly all answers take."""


class _InFlight:
    """A model call on an event loop: the task it is made in, and what is to be told of its end, if somebody waits."""

    __slots__ = ("ended", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.ended: asyncio.Future[None] | None = None

    def end(self) -> None:
        """Tell whoever waits; from any thread."""
        if self.ended is not None:
            self.ended.get_loop().call_soon_threadsafe(_set, self.ended)


class RunningStep:
    """A step while it runs: a context manager. Whatever is called inside the block finds it.

    Attributes:
        governance: what governs the step.
        answers: what model calls made in it, and in steps inside it, have answered, by langchain-core's ids.
        in_flight: the model calls made in it, on an event loop, that have not ended, likewise.
        outer: the step this one is a part of, if there is one.
        passed_on: the refusal that ended something inside, where it is the run of this step that is to land.
    """

    __slots__ = ("_token", "answers", "governance", "in_flight", "outer", "passed_on")

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.passed_on: BudgetExceeded | None = None
        self.answers: dict[int, LLMResult] = {}
        self.in_flight: dict[int, _InFlight] = {}

    def __enter__(self) -> Self:
        self.outer = _running.get()
        self._token: Token[RunningStep | None] = _running.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _running.reset(self._token)
        if self.answers and self.outer is not None:
            self.outer.answers.update(self.answers)

    async def calls_have_ended(self) -> None:
        """Wait for the model calls that are being made in other tasks just now. One that was cancelled counts as ended
        when its task ends or makes another call."""
        here, loop = asyncio.current_task(), asyncio.get_running_loop()
        for call, each in list(self.in_flight.items()):
            if each.ended is None:
                each.ended = loop.create_future()
            if call in self.in_flight and each.task is not here:
                await asyncio.wait({each.task, each.ended}, timeout=_LONGEST, return_when=asyncio.FIRST_COMPLETED)

    def pass_on(self, refusal: BudgetExceeded, governance: Governance) -> bool:
        """Have the step around this one land, if it is of the run that is governed so; False if it is not."""
        if self.outer is None or self.outer.governance is not governance:
            return False
        self.outer.passed_on = refusal
        return True


_running: ContextVar[RunningStep | None] = ContextVar("budgeted_agents_running_step", default=None)


def passed_on(refusal: BudgetExceeded, outer: Governance | None) -> bool:
    """Have the step that is run here land, if it is of the run that is governed so, and it is a budget of that run that
    refused; False if it is not."""
    running = _running.get()
    if running is None or outer is None or running.governance is not outer or not is_of(refusal, outer):
        return False
    running.passed_on = refusal
    return True


def is_of(refusal: BudgetExceeded, governance: Governance) -> bool:
    """Whether a budget of this run refused. A cap on depth is of the agent that is too deep: others can go on."""
    return refusal.budget in governance.meter.policy.by_name and refusal.unit != "depth"


def begun(call: int) -> None:
    """Told of each model call (by langchain-core's id) of the step that is run here, in the task it is made in."""
    running = _running.get()
    if running is None or asyncio._get_running_loop() is None or (task := asyncio.current_task()) is None:
        return
    made = _InFlight(task)
    while running is not None:
        for earlier, each in list(running.in_flight.items()):
            if each.task is task or each.task.done():  # it was cancelled, of which nobody is told
                del running.in_flight[earlier]
                each.end()
        running.in_flight[call] = made
        running = running.outer


def answered(call: int, answer: LLMResult) -> None:
    """Remember what a model call (by langchain-core's id) has answered, for as long as the step it is made in goes on.
    Several handlers may say it of one call."""
    running = _running.get()
    if running is not None:
        running.answers[call] = answer


def ended(call: int) -> None:
    """Told when a model call has been settled; from any thread."""
    running = _running.get()
    while running is not None and running.in_flight:
        known = running.in_flight.pop(call, None)
        if known is not None:
            known.end()
        running = running.outer


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
