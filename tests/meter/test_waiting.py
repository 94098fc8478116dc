"""A call waits for money that calls in flight hold and may give back; for the next minute; and no longer than asked."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.ledgers.contract import Ledger
from budgeted_agents.meter import Admission, Run, admit, adrive
from tests.meter.support import GPT, MINI, START, Clock, Rig, worst

ONE_CALL = str(worst(GPT, 8_000, 1_000) / 1e9)


def rig_for_one(ledger: Ledger, **fields: object) -> Rig:
    """A rig whose budget has room for one call of GPT with 1,000 tokens of answer."""
    return Rig(ledger, [Budget(usd=ONE_CALL, landing_reserve=0, **fields)])


def test_a_call_gets_the_money_that_another_thread_gives_back(ledger: Ledger) -> None:
    rig = rig_for_one(ledger)
    first = rig.admit(limit=1_000)
    waiting, got = threading.Event(), []

    class Announcing(Clock):
        """The real thread tells that it has looked at the clock, and so at the ledger, a second time."""

        looks = 0

        def __call__(self) -> float:
            self.looks += 1
            if self.looks > 2:
                waiting.set()
            return self.now

    rig.meter.clock = Announcing()
    thread = threading.Thread(target=lambda: got.append(rig.admit(limit=1_000)))
    thread.start()
    assert waiting.wait(30)
    assert not got
    ledger.release(first.id, now=START)
    thread.join(30)
    (second,) = got
    assert (second.granted, second.way.shortened) == (1_000, False)


def test_a_call_waits_for_a_whole_answer_before_one_is_cut(ledger: Ledger) -> None:
    rig = rig_for_one(ledger)
    small = rig.admit(limit=500, useful=500)
    call = rig.call(GPT, tokens=100, limit=1_000)

    def settle_after_a_second(_: float) -> None:
        if rig.clock() >= START + 1:
            ledger.release(small.id, now=rig.clock())

    admission = rig.by_hand(admit(rig.meter, rig.run, call), on_pause=settle_after_a_second)
    assert (admission.granted, admission.way.shortened) == (1_000, False)
    assert START + 1 <= rig.clock() < START + 2


def test_a_call_takes_a_shorter_answer_once_it_has_waited_enough(ledger: Ledger) -> None:
    rig = rig_for_one(ledger, max_wait=10)
    rig.admit(limit=500, useful=500)
    admission = rig.by_hand(admit(rig.meter, rig.run, rig.call(GPT, tokens=100, limit=1_000)))
    assert admission.way.shortened
    assert rig.clock() == pytest.approx(START + 10)


def test_a_call_is_refused_after_max_wait_and_no_later(ledger: Ledger) -> None:
    rig = rig_for_one(ledger, max_wait=12)
    rig.admit(limit=1_000)
    with pytest.raises(BudgetExceeded, match="held by calls in flight"):
        rig.by_hand(admit(rig.meter, rig.run, rig.call(limit=1_000)))
    assert rig.clock() == pytest.approx(START + 12)
    assert rig.balance().held == worst(GPT, 8_000, 1_000)


@pytest.mark.parametrize("spent_for_good", [True, False])
def test_waiting_is_only_for_what_may_come_back_and_only_if_the_run_may(ledger: Ledger, spent_for_good: bool) -> None:
    rig = rig_for_one(ledger)
    first = rig.admit(limit=1_000)
    if spent_for_good:
        rig.spend(first)
    else:
        rig.run = Run("r2", "s1", may_wait=False)
    with pytest.raises(BudgetExceeded):
        rig.by_hand(admit(rig.meter, rig.run, rig.call(limit=1_000)))
    assert rig.clock() == START


@pytest.mark.parametrize(("binds", "waited"), [("patient", 20), ("hasty", 0)])
def test_each_budget_has_its_own_patience(ledger: Ledger, binds: str, waited: float) -> None:
    amounts = {name: ONE_CALL if name == binds else "5" for name in ("patient", "hasty")}
    rig = Rig(
        ledger,
        [
            Budget(name="patient", usd=amounts["patient"], max_wait=20),
            Budget(name="hasty", per="tenant", usd=amounts["hasty"], max_wait=0),
            Budget(name="watching", per="user", usd="0.0001", max_wait=3_600, mode="shadow"),
        ],
    )
    object.__setattr__(rig.meter.policy.budgets[0], "landing_reserve", 0.0)
    rig.admit(limit=1_000)
    with pytest.raises(BudgetExceeded) as caught:
        rig.by_hand(admit(rig.meter, rig.run, rig.call(limit=1_000)))
    assert caught.value.budget == binds
    assert rig.clock() == pytest.approx(START + waited)


def test_a_budget_on_a_class_of_models_waits_for_that_class(ledger: Ledger) -> None:
    premium = Budget(name="premium", per=(), where={"model_class": "premium"}, usd=ONE_CALL, max_wait=5)
    rig = Rig(ledger, [premium], classes={"premium": (GPT,)})
    rig.admit(limit=1_000)
    with pytest.raises(BudgetExceeded):
        rig.by_hand(admit(rig.meter, rig.run, rig.call(limit=1_000)))
    assert rig.clock() == pytest.approx(START + 5)


def test_requests_of_a_full_minute_wait_for_the_next_one(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(requests_per_minute=2, max_wait=30)])
    rig.clock.now = START + 40
    for _ in range(2):
        rig.spend(rig.admit())
    pauses: list[float] = []
    admission = rig.by_hand(admit(rig.meter, rig.run, rig.call(GPT, MINI)), on_pause=pauses.append)
    assert pauses == [20]
    assert (admission.way.quote.model, admission.way.shortened) == (GPT, False)
    minutes = {account.window for account in ledger.accounts()}
    stamps = [datetime.fromtimestamp(START + 60 * n, UTC).strftime("m:%Y-%m-%dT%H:%MZ") for n in (0, 1)]
    assert minutes == set(stamps)


def test_requests_are_refused_at_once_if_the_next_minute_is_too_far(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(requests_per_minute=1, max_wait=30)])
    rig.spend(rig.admit())
    rig.clock.now = START + 29
    with pytest.raises(BudgetExceeded, match="Try again in the next minute") as caught:
        rig.by_hand(admit(rig.meter, rig.run, rig.call()))
    assert (caught.value.unit, caught.value.limit, rig.clock()) == ("requests", 1, START + 29)


def test_requests_that_others_hold_are_waited_for_into_the_next_minute(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(requests_per_minute=1, max_wait=30)])
    rig.clock.now = START + 50
    rig.admit()
    rig.by_hand(admit(rig.meter, rig.run, rig.call()))
    assert START + 60 <= rig.clock() < START + 61


async def test_waiting_does_not_block_the_event_loop(ledger: Ledger) -> None:
    rig = rig_for_one(ledger)
    first = rig.admit(limit=1_000)
    waiting = asyncio.create_task(
        adrive(admit(rig.meter, rig.run, rig.call(limit=1_000)), blocking=ledger.blocking), name="waiting"
    )
    turns = 0
    while turns < 50:  # the loop goes round while the call waits
        await asyncio.sleep(0)
        turns += 1
    assert not waiting.done()
    ledger.release(first.id, now=START)
    admission: Admission = await asyncio.wait_for(waiting, 30)
    assert admission.granted == 1_000


async def test_many_calls_that_wait_all_get_their_turn(ledger: Ledger) -> None:
    """More calls wait than there are threads for the ledger."""
    rig = rig_for_one(ledger)
    done = 0

    async def one() -> None:
        nonlocal done
        admission = await adrive(admit(rig.meter, rig.run, rig.call(limit=1_000)), blocking=ledger.blocking)
        ledger.release(admission.id, now=START)
        done += 1

    await asyncio.wait_for(asyncio.gather(*(one() for _ in range(24))), 60)
    assert done == 24
    assert rig.held() == 0
