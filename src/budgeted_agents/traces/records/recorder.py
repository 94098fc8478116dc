"""Recorders: who is told of every call, event and top-up, besides the ledger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol, Self, TypeGuard

from budgeted_agents.errors import InvalidInput
from budgeted_agents.ledgers import Balance, TopUp
from budgeted_agents.traces.records.content import Content
from budgeted_agents.traces.records.event import BudgetEvent
from budgeted_agents.traces.records.record import CallRecord


class ToppedUp(NamedTuple):
    """One account's top-up.

    Attributes:
        limit: the account's own limit, without top-ups, in its unit.
        session: whose report shows it; empty for none.
    """

    top_up: TopUp
    limit: int
    session: str = ""

    @classmethod
    def after(cls, top_up: TopUp, balance: Balance, session: str) -> Self:
        """From the account's balance afterward."""
        return cls(top_up, balance.limit - balance.credit, session)


Recorded = CallRecord | BudgetEvent | ToppedUp
"""What a recorder writes down."""


class Recorder(Protocol):
    """Writes down what happens. It must not wait for a network, and may be called from any thread.

    What it raises is told as an event, and harms no call.
    """

    def parent(self) -> str:
        """The W3C ``traceparent`` of the span that is current here; empty if there is none."""

    def call(self, record: CallRecord) -> None:
        """A call has ended and is about to be booked."""

    def event(self, event: BudgetEvent) -> None:
        """A budget had something to say."""

    def top_up(self, topped_up: ToppedUp) -> None:
        """An account's limit was raised."""


class ContentRecorder(ABC):
    """A base of recorders that can be asked to keep what calls say as well. Any other recorder never gets to see it."""

    @property
    @abstractmethod
    def keeps_content(self) -> bool:
        """Whether it was asked to."""

    @abstractmethod
    def call(self, record: CallRecord, content: Content | None = None) -> None:
        """A call has ended and is about to be booked; ``content`` is what it says, if this is to be kept."""


def check_content(content: object, place: str, error: type[InvalidInput]) -> None:
    """Raises:
    InvalidInput: of this class: what a recorder was told of content is neither True nor False.
    """
    if not isinstance(content, bool):
        remedy = "Write content=True to keep what calls say, content=False not to"
        raise error("is neither True nor False", field="content", value=content, place=place, remedy=remedy)


def keeps_content(recorder: object) -> TypeGuard[ContentRecorder]:
    """Whether a recorder is to be told what calls say."""
    return isinstance(recorder, ContentRecorder) and recorder.keeps_content
