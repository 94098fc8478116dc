"""Embeddings wait for money that calls in flight hold where that keeps nobody else from going on, and only there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from budgeted_agents import Budget, BudgetExceeded, CostCallback, budgeted_embeddings
from budgeted_agents.ledgers import Hold, MemoryLedger, Refusal, Reservation
from budgeted_agents.testing import LocalProvider
from tests.attach.support import embeddings_of, serving
from tests.traces.support import SESSION

LIMIT = 1_000_000
"""Nano-USD: room for any embedding here, but for none while another call holds all of it."""

MAX_WAIT = 30
"""Seconds."""


class Announcing(MemoryLedger):
    """Tells when it has refused something."""

    def __init__(self) -> None:
        super().__init__()
        self.has_refused = threading.Event()

    def reserve(self, *args: Any, **kwargs: Any) -> Reservation | Refusal:
        answer = super().reserve(*args, **kwargs)
        if isinstance(answer, Refusal):
            self.has_refused.set()
        return answer


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def ledger() -> Announcing:
    """All its money is held by a call in flight."""
    ledger = Announcing()
    held = ledger.reserve("first", [Hold(SESSION, LIMIT, LIMIT)], floor=0, ask=0, now=time.time(), ttl=900)
    assert isinstance(held, Reservation)
    return ledger


def embeddings(provider: LocalProvider, ledger: MemoryLedger) -> Any:
    budget = Budget(usd="0.001", landing_reserve=0, max_wait=MAX_WAIT)
    callback = CostCallback(budget=budget, ledger=ledger, session="t1")
    return budgeted_embeddings(embeddings_of(provider), callback)


def give_back_once_refused(ledger: Announcing) -> None:
    assert ledger.has_refused.wait(30)
    ledger.release("first", now=time.time())


async def test_a_call_that_blocks_an_event_loop_does_not_wait(provider: LocalProvider, ledger: Announcing) -> None:
    """On the loop, what it would wait for could not come back: the other call needs the loop as well."""
    started = time.monotonic()
    with pytest.raises(BudgetExceeded, match="held by calls in flight"):
        embeddings(provider, ledger).embed_query("trees")
    assert time.monotonic() - started < MAX_WAIT / 2
    assert not provider.requests


async def test_a_call_that_is_awaited_waits_and_the_loop_goes_on(provider: LocalProvider, ledger: Announcing) -> None:
    waiting = asyncio.create_task(embeddings(provider, ledger).aembed_query("trees"))
    assert await asyncio.to_thread(ledger.has_refused.wait, 30)
    assert not waiting.done()
    ledger.release("first", now=time.time())
    assert await asyncio.wait_for(waiting, 30)
    assert len(provider.requests) == 1


def test_a_call_in_a_thread_of_its_own_waits(provider: LocalProvider, ledger: Announcing) -> None:
    other = threading.Thread(target=give_back_once_refused, args=(ledger,))
    other.start()
    assert embeddings(provider, ledger).embed_documents(["trees", "flowers"])
    other.join(30)
    assert ledger.has_refused.is_set()
    assert len(provider.requests) == 1
