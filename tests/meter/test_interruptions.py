"""Interrupted anywhere, a call leaves nothing held that it should not, and nothing paid for is forgotten.

Every effect of every step is interrupted, just before and just after it took place, by everything that can interrupt.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.errors import BudgetExceeded, LedgerUnavailable
from budgeted_agents.ledgers.contract import Ledger
from budgeted_agents.ledgers.sqlite import SqliteLedger
from budgeted_agents.meter import Steps, admit, admit_tool, adrive, cancel, drive, fail, settle, settle_tool
from budgeted_agents.meter.booking import catch_up
from budgeted_agents.usage import Usage
from tests.meter.support import GPT, MINI, START, Faulty, Rig, price_of, worst

NewLedger = Callable[[], Ledger]
INTERRUPTIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)
USAGE = Usage(input=8_000, output=500)
COST = price_of(GPT).cost(USAGE)


def interrupted(rig: Rig, steps: Steps[Any], at: int, *, before: bool, by: type[BaseException]) -> BaseException | None:
    """Conduct the steps and interrupt the effect of this number; what came out, None if they ended before it."""
    count = -1

    def perform(effect: Any) -> Any:
        nonlocal count
        count += 1
        if count == at and before:
            raise by
        result = rig.perform(effect)
        if count == at:
            raise by
        return result

    try:
        effect = next(steps)
        while True:
            try:
                result = perform(effect)
            except BaseException as error:  # noqa: BLE001 -- the generator decides
                effect = steps.throw(error)
            else:
                effect = steps.send(result)
    except StopIteration:
        assert count < at, "an interruption was swallowed"
        return None
    except BudgetExceeded as refusal:
        return None if count < at else refusal
    except BaseException as error:  # noqa: BLE001 -- it is what this function is for
        return error


def everywhere(scenario: Callable[[int, bool, type[BaseException]], BaseException | None]) -> int:
    """Run a scenario with an interruption at every effect it has. The number of interruptions."""
    done = 0
    for by in INTERRUPTIONS:
        for before in (True, False):
            for at in range(1_000):
                found = scenario(at, before, by)
                if found is None:
                    break
                assert isinstance(found, by)
                done += 1
    return done


def test_an_interrupted_admission_holds_nothing(new_ledger: NewLedger) -> None:
    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        rig = Rig(new_ledger(), [Budget(usd="0.02"), Budget(name="tenant", per="tenant", usd=1)])
        found = interrupted(rig, admit(rig.meter, rig.run, rig.call(GPT, MINI)), at, before=before, by=by)
        assert found is None or rig.held() == 0
        assert sum(b.spent for b in rig.ledger.balances(rig.ledger.accounts())) == 0
        return found

    assert everywhere(scenario) == 3 * 2 * 3  # balances, GPT does not fit, MINI does


def test_an_interrupted_refusal_holds_nothing(new_ledger: NewLedger) -> None:
    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        rig = Rig(new_ledger(), [Budget(usd="0.0001")])
        found = interrupted(rig, admit(rig.meter, rig.run, rig.call(GPT, MINI)), at, before=before, by=by)
        assert rig.held() == 0
        return found

    assert everywhere(scenario) == 3 * 2 * 6  # balances, two tiers whole, two shortened, the note


def test_an_interrupted_wait_holds_nothing(new_ledger: NewLedger) -> None:
    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        rig = Rig(new_ledger(), [Budget(usd="0.03", landing_reserve=0, max_wait=0.02)])
        rig.admit(limit=1_000)
        others = rig.held()
        found = interrupted(rig, admit(rig.meter, rig.run, rig.call(limit=1_000)), at, before=before, by=by)
        assert rig.held() == others
        return found

    assert everywhere(scenario) > 3 * 2 * 8


def test_an_interruption_while_an_earlier_settlement_is_caught_up_with_loses_neither(new_ledger: NewLedger) -> None:
    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        ledger = Faulty(new_ledger())
        rig = Rig(ledger, [Budget(usd="1.00")])
        admissions = [rig.admit(limit=1_000) for _ in range(3)]
        ledger.down = True
        for admission in admissions:
            rig.spend(admission)
        ledger.down = False
        found = interrupted(rig, admit(rig.meter, rig.run, rig.call(limit=1_000)), at, before=before, by=by)
        drive(admit(rig.meter, rig.run, rig.call(limit=1_000)))
        assert rig.balance().spent == 3 * COST
        assert rig.held() == worst(GPT, 8_000, 1_000) * (2 if found is None else 1)
        return found

    assert everywhere(scenario) == 3 * 2 * 4  # three bookings, the reserve


@pytest.mark.parametrize(
    ("ending", "spent", "presumed"),
    [
        (lambda rig, call: settle(rig.meter, call, USAGE, price_of(GPT)), COST, 0),
        (lambda rig, call: fail(rig.meter, call, TimeoutError(), price_of(GPT), answered=False), None, None),
        (lambda rig, call: fail(rig.meter, call, ConnectionRefusedError(), price_of(GPT), answered=False), 0, 0),
        (lambda rig, call: cancel(rig.meter, call, price_of(GPT), flag="cache_hit"), 0, 0),
    ],
    ids=["settle", "presume", "release", "cancel"],
)
def test_an_interrupted_ending_is_booked_with_the_next_call(
    new_ledger: NewLedger, ending: Callable[[Rig, Any], Steps[Any]], spent: int | None, presumed: int | None
) -> None:
    everything = worst(GPT, 8_000, 1_000)

    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        rig = Rig(new_ledger(), [Budget(usd="1.00")])
        found = interrupted(rig, ending(rig, rig.admit(limit=1_000)), at, before=before, by=by)
        rig.spend(rig.admit(limit=1_000))
        balance = rig.balance()
        assert balance.spent - COST == (everything if spent is None else spent)
        assert balance.presumed == (everything if presumed is None else presumed)
        assert balance.held == 0
        return found

    assert everywhere(scenario) == 3 * 2


def test_an_alert_is_told_even_if_the_interruption_comes_right_after_the_booking(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(model_calls=1)])
    steps = settle(rig.meter, rig.admit(), USAGE, price_of(GPT))
    assert isinstance(interrupted(rig, steps, 0, before=False, by=asyncio.CancelledError), asyncio.CancelledError)
    assert rig.kinds() == ["alert", "exhausted"]


def test_an_alert_is_told_once_however_often_its_booking_is_tried(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(model_calls=1)])
    interrupted(rig, settle(rig.meter, rig.admit(), USAGE, price_of(GPT)), 0, before=False, by=asyncio.CancelledError)
    faulty.down = True
    with pytest.raises(LedgerUnavailable):
        rig.admit()
    faulty.down = False
    drive(catch_up(rig.meter))
    assert rig.kinds() == ["alert", "exhausted"]
    assert not rig.meter.unsettled


def test_an_interrupted_tool_call_holds_nothing(new_ledger: NewLedger) -> None:
    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        rig = Rig(new_ledger(), [Budget(tool_calls={"search": 1, "*": 5})])
        found = interrupted(rig, admit_tool(rig.meter, rig.run, "search", {}), at, before=before, by=by)
        assert found is None or rig.held() == 0
        return found

    assert everywhere(scenario) == 3 * 2


def test_an_interrupted_end_of_a_tool_call_is_booked_with_the_next(new_ledger: NewLedger) -> None:
    def scenario(at: int, before: bool, by: type[BaseException]) -> BaseException | None:
        rig = Rig(new_ledger(), [Budget(tool_calls=5)])
        admission = drive(admit_tool(rig.meter, rig.run, "search", {}))
        found = interrupted(rig, settle_tool(rig.meter, admission), at, before=before, by=by)
        drive(settle_tool(rig.meter, drive(admit_tool(rig.meter, rig.run, "search", {}))))
        assert (rig.balance(unit="tool_calls").spent, rig.held()) == (2, 0)
        return found

    assert everywhere(scenario) == 3 * 2


def test_an_interruption_is_not_hidden_by_a_ledger_that_is_away(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(usd="1.00")])
    steps = admit(rig.meter, rig.run, rig.call(limit=1_000))
    effect: Any = next(steps)
    effect()
    faulty.down = True
    effect = steps.throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        rig.by_hand(steps, effect)
    faulty.down = False
    rig.spend(rig.admit(limit=1_000))
    assert (rig.held(), rig.balance().spent) == (0, COST)


def test_a_listener_that_interrupts_leaves_nothing_held(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.02")])

    def impatient(event: object) -> None:
        raise KeyboardInterrupt

    rig.meter.listeners = (impatient,)
    with pytest.raises(KeyboardInterrupt):
        rig.admit(GPT, MINI)  # the downgrade is told after the money was held
    assert rig.held() == 0


# -- on an event loop, over a real file ------------------------------------------------------------------------------


@pytest.fixture
def busy(tmp_path: Path) -> Generator[tuple[SqliteLedger, sqlite3.Connection]]:
    """A ledger, and a connection that can keep it busy."""
    ledger = SqliteLedger(tmp_path / "spend.db")
    other = sqlite3.connect(tmp_path / "spend.db", isolation_level=None)
    yield ledger, other
    other.close()
    ledger.close()


async def started(work: Steps[Any], at: int) -> asyncio.Task[Any]:
    """A task whose effect of this number has begun in its thread."""
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def watched() -> Steps[Any]:
        effect, count = next(work), 0
        while True:
            if count == at:
                loop.call_soon_threadsafe(begun.set)
            count += 1
            try:
                result = yield effect
            except BaseException as error:  # noqa: BLE001 -- handed on
                effect = work.throw(error)
            else:
                effect = work.send(result)

    task = asyncio.create_task(adrive(watched(), blocking=True))
    await begun.wait()
    return task


@pytest.mark.parametrize("cancellations", [1, 3])
async def test_cancelling_a_reserve_that_waits_for_the_file_leaves_nothing_held(
    busy: tuple[SqliteLedger, sqlite3.Connection], cancellations: int
) -> None:
    ledger, other = busy
    rig = Rig(ledger, [Budget(usd="1.00")])
    other.execute("BEGIN IMMEDIATE")
    task = await started(admit(rig.meter, rig.run, rig.call(limit=1_000)), at=1)  # 0 reads the balances
    for _ in range(cancellations):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()  # the reserve is shielded until it is known what it did
    other.execute("COMMIT")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.held() == 0
    assert [entry.state for entry in ledger.entries("s1")] in ([], ["released"])


async def test_cancelling_a_settlement_books_it_all_the_same(busy: tuple[SqliteLedger, sqlite3.Connection]) -> None:
    ledger, other = busy
    rig = Rig(ledger, [Budget(usd="1.00")])
    admission = rig.admit(limit=1_000)
    other.execute("BEGIN IMMEDIATE")
    task = await started(settle(rig.meter, admission, USAGE, price_of(GPT)), at=0)
    task.cancel()
    await asyncio.sleep(0)
    other.execute("COMMIT")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (rig.held(), rig.balance().spent) == (0, COST)


async def test_a_coroutine_that_the_loop_drops_gives_its_money_back(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.03", landing_reserve=0)])
    first = rig.admit(limit=1_000)
    waiting = adrive(admit(rig.meter, rig.run, rig.call(limit=1_000)), blocking=False)
    waiting.send(None)  # as far as the pause
    waiting.close()
    ledger.release(first.id, now=START)
    assert rig.held() == 0
    assert [entry.state for entry in ledger.entries("s1")] == ["released"]


async def one_call(rig: Rig, number: int) -> None:
    """A call whose provider takes a turn of the loop, and is cut off if the call is cancelled meanwhile."""
    admission = await adrive(admit(rig.meter, rig.run, rig.call(limit=1_000)), blocking=True)
    error = TimeoutError() if number % 2 else ConnectionRefusedError()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        await adrive(fail(rig.meter, admission, error, price_of(GPT), answered=False), blocking=True)
        raise
    await adrive(settle(rig.meter, admission, USAGE, price_of(GPT)), blocking=True)


async def test_cancelling_many_calls_at_any_moment_leaves_nothing_held(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "spend.db")
    rig = Rig(ledger, [Budget(usd="0.20", landing_reserve=0, max_wait=0.5)])
    rig.meter.clock = asyncio.get_running_loop().time
    tasks = [asyncio.create_task(one_call(rig, number)) for number in range(120)]
    for number, task in enumerate(tasks):
        for _ in range(number % 7):
            await asyncio.sleep(0)
        if number % 3:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    drive(catch_up(rig.meter))
    balance = rig.balance()
    assert balance.held == 0
    assert 0 < balance.spent <= balance.limit
    charged = [amount for entry in ledger.entries("s1") for _, amount in entry.charged]
    assert sum(charged) == balance.spent
    ledger.close()
