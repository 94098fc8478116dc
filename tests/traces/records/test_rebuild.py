"""A ledger can be had back from its journal: all of it or a part, once or many times, also after kills."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgeted_agents.budget import Budget
from budgeted_agents.errors import LedgerUnavailable
from budgeted_agents.ledgers import Account, Balance, Hold, Ledger, MemoryLedger, TopUp, open_ledger
from budgeted_agents.meter import cancel, drive, fail
from budgeted_agents.reports.verification import Verification, verify
from budgeted_agents.traces import CallRecord, ToppedUp
from budgeted_agents.traces.problems import Problem
from budgeted_agents.traces.records.journal import Journal, JournalLine, beside, read_journal
from budgeted_agents.traces.records.rebuild import folded, rebuild
from tests.meter.support import GPT, Rig, price_of
from tests.traces.records import working
from tests.traces.records.strategies import records, topped_up
from tests.traces.support import SESSION, a_call

ROOT = Path(__file__).parents[3]


def balances_of(ledger: Ledger) -> dict[str, Balance]:
    return {balance.account.key: balance for balance in ledger.balances(ledger.accounts())}


def compared(ledger: Ledger, journal: Path) -> Verification:
    return verify(ledger, folded(read_journal(journal, []), []))


def kinds(found: Verification) -> list[str]:
    return [difference.kind for difference in found.differences]


def restored_from(journal: Path, ledger: Ledger) -> int:
    problems: list[Problem] = []
    changed = rebuild(ledger, read_journal(journal, []), problems)
    assert problems == []
    return changed


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/spend.db"


@pytest.fixture
def rig(url: str) -> Rig:
    """A meter on a ledger in a file, which keeps a journal beside it."""
    ledger = open_ledger(url)
    rig = Rig(ledger, [Budget(usd="10", tokens=10**6), Budget(name="all", per=(), usd="50")])
    rig.meter.recorders = (Journal(journal_of(url)),)
    return rig


def journal_of(url: str) -> Path:
    folder = beside(url)
    assert folder is not None
    return folder


def some_work(rig: Rig) -> None:
    """Calls that end in every way."""
    for number in range(4):
        rig.clock.now += 1
        rig.spend(rig.admit(), tokens=1_000 * (number + 1), output=100)
    drive(fail(rig.meter, rig.admit(), TimeoutError(), price_of(GPT), answered=False))
    drive(cancel(rig.meter, rig.admit(), price_of(GPT), flag="cache_hit"))
    rig.spend(rig.admit(tokens=10, limit=1, useful=1), tokens=30_000, output=9_000)  # an overrun


def test_a_ledger_that_is_lost_comes_back_with_its_balances_and_reports(rig: Rig, url: str, tmp_path: Path) -> None:
    some_work(rig)
    lost, told = balances_of(rig.ledger), [entry.record for entry in rig.ledger.entries()]
    rig.ledger.close()
    for file in tmp_path.glob("spend.db*"):
        if file.is_file():
            file.unlink()
    again = open_ledger(url)
    assert restored_from(journal_of(url), again) == 7
    assert balances_of(again) == lost
    assert [entry.record for entry in again.entries()] == told
    found = compared(again, journal_of(url))
    assert (found.agrees, found.matching) == (True, 7)


def test_a_file_that_is_removed_in_mid_run_costs_no_spend(rig: Rig, url: str, tmp_path: Path) -> None:
    rig.spend(rig.admit())
    admission = rig.admit()
    lost = balances_of(rig.ledger)
    for file in tmp_path.glob("spend.db*"):
        if file.is_file():
            file.unlink()
    record = rig.spend(admission)  # it was paid for, and its answer is there
    assert rig.kinds() == ["unsettled"]
    again = open_ledger(url)
    assert restored_from(journal_of(url), again) == 2
    spent = {key: balance.spent for key, balance in balances_of(again).items() if key.endswith("usd")}
    assert spent == {key: lost[key].spent + record.cost for key in spent}


def test_to_rebuild_twice_changes_nothing(rig: Rig, url: str) -> None:
    some_work(rig)
    again = MemoryLedger()
    restored_from(journal_of(url), again)
    once = balances_of(again)
    assert restored_from(journal_of(url), again) == 0
    assert balances_of(again) == once == balances_of(rig.ledger)


def test_a_ledger_that_survived_in_part_gets_only_what_it_lacks(rig: Rig, url: str, tmp_path: Path) -> None:
    rig.spend(rig.admit())
    rig.ledger.close()
    shutil.copy(tmp_path / "spend.db", tmp_path / "old.db")
    rig.meter.ledger = rig.ledger = open_ledger(url)
    rig.spend(rig.admit(), tokens=77)
    old = open_ledger(f"sqlite:///{tmp_path}/old.db")
    assert kinds(compared(old, journal_of(url))) == ["missing"]
    assert restored_from(journal_of(url), old) == 1
    assert balances_of(old) == balances_of(rig.ledger)


def test_a_call_that_was_written_down_and_not_settled_is_settled(rig: Rig, url: str) -> None:
    """A worker died between the two, and its call was presumed since."""
    admission = rig.admit()
    away: list[bool] = []
    settle = rig.ledger.settle

    def dies(*args: object, **kwargs: object) -> None:
        away.append(True)
        raise LedgerUnavailable("the worker dies here")

    rig.ledger.settle = dies  # type: ignore[method-assign, assignment]
    record = rig.spend(admission)
    rig.ledger.settle = settle  # type: ignore[method-assign]
    assert away
    assert kinds(compared(rig.ledger, journal_of(url))) == ["unsettled"]
    rig.ledger.expire(rig.clock.now + 1_000)
    assert kinds(compared(rig.ledger, journal_of(url))) == ["unsettled"]
    restored_from(journal_of(url), rig.ledger)
    assert rig.balance().spent == record.cost
    assert compared(rig.ledger, journal_of(url)).agrees


def test_what_is_presumed_or_in_flight_or_was_never_made_is_explained(rig: Rig, url: str) -> None:
    rig.spend(rig.admit())
    rig.admit(limit=10, useful=10)
    rig.ledger.expire(rig.clock.now + 1_000)
    rig.admit(limit=20, useful=20)
    rig.ledger.release(rig.admit(limit=30, useful=30).id, now=rig.clock.now)
    found = compared(rig.ledger, journal_of(url))
    assert found.agrees
    assert (found.matching, found.presumed, found.in_flight, found.unmade) == (1, 1, 1, 1)
    assert all(account.presumed and account.held for account in found.accounts)


def test_what_the_journal_never_heard_of_is_told(rig: Rig, url: str) -> None:
    rig.spend(rig.admit())
    rig.meter.recorders = ()
    rig.spend(rig.admit())
    found = compared(rig.ledger, journal_of(url))
    assert (found.agrees, kinds(found)) == (False, ["extra"])
    assert not any(account.agrees for account in found.accounts)


def test_another_amount_is_told_and_stands(rig: Rig, url: str) -> None:
    record = rig.spend(rig.admit())
    other = MemoryLedger()
    holds = [Hold(account, 10**9, 5) for account in rig.ledger.accounts()]
    other.reserve(record.id, holds, floor=0, ask=0, now=1, ttl=1, session="s1")
    other.settle(record.id, {"usd": 3, "tokens": 3}, now=2, record={"id": record.id})
    assert restored_from(journal_of(url), other) == 0
    assert kinds(compared(other, journal_of(url))) == ["differing"]


def test_top_ups_come_back_once(url: str) -> None:
    journal = Journal(journal_of(url))
    journal.top_up(ToppedUp(TopUp("up-1", SESSION, 500, "ada", "more work", 5.0), 10**9, "t1"))
    ledger = MemoryLedger()
    for changed in (1, 0):
        assert restored_from(journal.path, ledger) == changed
        assert balances_of(ledger)[SESSION.key] == Balance(SESSION, 10**9 + 500, credit=500)
    assert len(list(ledger.notes("t1"))) == 1
    assert compared(ledger, journal.path).agrees


def test_a_second_top_up_under_one_id_changes_nothing_however_often(url: str) -> None:
    journal = Journal(journal_of(url))
    for account in (SESSION, replace(SESSION, window="d:2026-02-09")):
        journal.top_up(ToppedUp(TopUp("up-1", account, 500, "ada", "more work", 5.0), 10**9, "t1"))
    ledger = MemoryLedger()
    assert [restored_from(journal.path, ledger) for _ in range(3)] == [1, 0, 0]
    assert balances_of(ledger)[SESSION.key].credit == 500


@given(st.lists(records | topped_up, max_size=6))
@settings(max_examples=50)
def test_whatever_stands_in_a_journal_is_booked_or_told(said: list[CallRecord | ToppedUp]) -> None:
    ledger = MemoryLedger()
    problems: list[Problem] = []
    lines = [JournalLine(each, f"journal:{number}") for number, each in enumerate(said)]
    rebuild(ledger, lines, problems)
    before = balances_of(ledger)
    assert rebuild(ledger, lines, []) == 0
    assert balances_of(ledger) == before
    for balance in before.values():
        assert balance.held == 0
        assert balance.limit == balance.available + balance.spent


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_workers_leave_a_ledger_and_a_journal_that_agree(url: str, seed: int) -> None:
    chance = random.Random(seed)
    open_ledger(url).close()
    for kill in range(4):
        arguments = [sys.executable, "-m", working.__name__, url]
        pair = [
            subprocess.Popen([*arguments, str(seed * 100 + kill * 10 + one)], cwd=ROOT, stdout=subprocess.PIPE)
            for one in range(2)
        ]
        for worker in pair:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"begun\n"
        time.sleep(chance.uniform(0.0, 0.05))  # killed at any moment
        for worker in pair:
            worker.send_signal(signal.SIGKILL)
            worker.wait(30)
    ledger = open_ledger(url)
    ledger.expire(time.time() + working.TTL + 1)
    assert all(balance.held == 0 for balance in balances_of(ledger).values())
    restored_from(journal_of(url), ledger)
    found = compared(ledger, journal_of(url))
    assert (found.agrees, kinds(found)) == (True, [])
    assert found.matching > 8


def test_a_line_the_ledger_cannot_keep_is_told_with_its_place() -> None:
    problems: list[Problem] = []
    bad = [a_call(id="x" * 300), a_call(id="y", holds=(("no account", 1, 1),)), a_call(id="z", actual={"usd": -1})]
    rebuild(MemoryLedger(), [JournalLine(call, f"j:{number}") for number, call in enumerate(bad)], problems)
    assert [problem.place for problem in problems] == ["j:0", "j:1", "j:2"]
    assert all(problem.message.startswith("cannot be booked: ") for problem in problems)


def test_a_difference_is_told_in_units_for_people() -> None:
    ledger, scope = MemoryLedger(), (("session", "s1"),)
    money, search = Account("session", scope), Account("session", scope, "", "tool_calls:search")
    ledger.reserve("a", [Hold(money, 10**9, 600), Hold(search, 5, 1)], floor=0, ask=0, now=1.0, ttl=60.0)
    ledger.settle("a", {}, now=2.0, record={"id": "a"})
    (difference,) = verify(ledger, MemoryLedger()).differences
    assert difference.ledger == "settled, 0.0000006 usd, 1 tool calls of search"
