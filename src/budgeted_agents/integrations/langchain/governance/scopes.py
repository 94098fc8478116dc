"""What a step of a run (a node of a graph, a call of a tool) has to pass on to whatever it is a part of: what model
calls made in it have answered, should a later one be refused, and a refusal that ended something inside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any, Self

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.integrations.langchain.governance.governance import Governance


class Scope:
    """A step while it runs: a context manager. Whatever is called inside the block finds it.

    Attributes:
        governance: what governs the step.
        outer: the step this one is a part of, if there is one.
        passed_on: the refusal that ended something inside, where it is the run of this step that is to land.
    """

    __slots__ = ("_answers", "_token", "governance", "outer", "passed_on")

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.passed_on: BudgetExceeded | None = None
        self._answers: dict[int, LLMResult] = {}

    def __enter__(self) -> Self:
        self.outer = _scope.get()
        self._token: Token[Scope | None] = _scope.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        _scope.reset(self._token)
        if kind is None and self._answers and self.outer is not None:
            self.outer._answers.update(self._answers)

    @property
    def answers(self) -> list[str]:
        """What model calls made in this step have answered so far."""
        return texts(self._answers)

    def pass_on(self, refusal: BudgetExceeded, governance: Governance) -> bool:
        """Have the step around this one land, if it is of the run that is governed so; False if it is not."""
        if self.outer is None or self.outer.governance is not governance:
            return False
        self.outer.passed_on = refusal
        return True


_scope: ContextVar[Scope | None] = ContextVar("budgeted_agents_scope", default=None)


def passed_on(refusal: BudgetExceeded, outer: Governance | None) -> bool:
    """Have the step that is run here land, if it is of the run that is governed so, and it is a budget of that run that
    refused; False if it is not."""
    scope = _scope.get()
    if scope is None or outer is None or scope.governance is not outer or not is_of(refusal, outer):
        return False
    scope.passed_on = refusal
    return True


def is_of(refusal: BudgetExceeded, governance: Governance) -> bool:
    """Whether a budget of this run refused. A cap on depth is of the agent that is too deep: others can go on."""
    return refusal.budget in governance.meter.policy.by_name and refusal.unit != "depth"


def answered(call: int, answer: LLMResult) -> None:
    """Remember what a model call (by langchain-core's id) has answered, for as long as the step it is made in goes on.
    Several handlers may say it of one call."""
    scope = _scope.get()
    if scope is not None:
        scope._answers[call] = answer


def texts(answers: Mapping[int, LLMResult]) -> list[str]:
    """What the answers say, and what they would have called: an answer in a structure is such a call."""
    return [text for answer in answers.values() for text in _texts(answer)]


def _texts(answer: LLMResult) -> Iterator[str]:
    for generation in (generation for prompt in answer.generations for generation in prompt):
        message: Any = generation.message if isinstance(generation, ChatGeneration) else None
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        text = message.text if message is not None else generation.text
        parts = [text.strip(), *(f"{call['name']}({json.dumps(call['args'], default=str)})" for call in calls)]
        if found := "\n".join(filter(None, parts)):
            yield found
