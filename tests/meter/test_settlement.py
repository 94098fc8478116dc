"""Settlement: what a call really cost is booked, told, and never lost."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import partial
from pathlib import Path

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.errors import BudgetExceeded, LedgerUnavailable
from budgeted_agents.ledgers.contract import Balance, Ledger
from budgeted_agents.ledgers.sqlite import SqliteLedger
from budgeted_agents.meter import Run, cancel, drive, fail, keep_alive, presume_overdue, settle
from budgeted_agents.meter.meter import Booking
from budgeted_agents.reports import spend_report
from budgeted_agents.testing.ledger_steps import expired
from budgeted_agents.usage import Usage
from tests.meter.support import GPT, MINI, Faulty, Rig, price_of, worst


def test_a_settled_call_is_charged_what_it_cost_and_recorded(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00", tokens=100_000, model_calls=5)])
    admission = rig.admit(GPT, attribution={"node": "writer"})
    rig.clock.now += 3
    usage = Usage(input=6_000, cache_read=1_000, output=400, reasoning=100)
    record = drive(settle(rig.meter, admission, usage, price_of(GPT), billed="gpt-4o-2024-08-06")).record()
    assert record.cost == price_of(GPT).cost(usage)
    assert [rig.balance(unit=unit).spent for unit in ("usd", "tokens", "model_calls")] == [record.cost, 7_500, 1]
    assert rig.held() == 0
    assert (record.outcome, record.node, record.model_billed) == ("settled", "writer", "gpt-4o-2024-08-06")
    assert (record.ended_at - record.started_at, record.reserved, record.flags) == (3, admission.reserved, ())
    assert record.usage == {"input_tokens": 7_000, "output_tokens": 500, "cache_read": 1_000, "reasoning": 100}
    assert record.unit_prices["input"] == "0.0000025"
    (entry,) = ledger.entries("s1")
    assert entry.record == record.to_json()


def test_a_call_with_a_purpose_says_so_and_teaches_nothing_of_the_applications_own(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    record = rig.spend(rig.admit(attribution={"node": "writer"}, purpose="a summary"), output=700)
    assert record.flags == ("a summary",)
    assert rig.run.longest_answer("writer") is None
    rig.spend(rig.admit(attribution={"node": "writer"}), output=300)
    assert rig.run.longest_answer("writer") == 300


def test_a_call_with_a_purpose_leaves_enough_for_another_one(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(model_calls=2, landing_reserve=0, max_wait=0)])
    rig.spend(rig.admit())
    with pytest.raises(BudgetExceeded, match="cannot cover a summary by gpt-4o with 8,000 input tokens"):
        rig.admit(purpose="a summary")
    assert rig.spend(rig.admit()).outcome == "settled"


def test_a_failure_that_was_not_billed_costs_nothing(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    record = drive(fail(rig.meter, rig.admit(), ConnectionRefusedError(), price_of(GPT), answered=False))
    assert (record.outcome, record.cost, record.error) == ("released", 0, "ConnectionRefusedError")
    assert rig.balance() == Balance(rig.balance().account, rig.balance().limit)


@pytest.mark.parametrize("answered", [False, True])
def test_a_failure_that_nobody_can_tell_is_presumed_at_its_worst_case(ledger: Ledger, answered: bool) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    error: Exception = ConnectionRefusedError() if answered else TimeoutError()
    record = drive(fail(rig.meter, rig.admit(), error, price_of(GPT), answered=answered))
    assert (record.outcome, record.cost) == ("presumed", worst(GPT, 8_000, 16_000))
    balance = rig.balance()
    assert (balance.spent, balance.presumed, balance.held) == (record.cost, record.cost, 0)


@pytest.mark.parametrize("budgets", [[], [Budget(model_calls=9)]])
def test_a_failure_is_presumed_at_its_worst_case_where_no_budget_counts_money(
    ledger: Ledger, budgets: list[Budget]
) -> None:
    rig = Rig(ledger, budgets)
    record = drive(fail(rig.meter, rig.admit(), TimeoutError(), price_of(GPT), answered=False))
    assert (record.outcome, record.cost) == ("presumed", worst(GPT, 8_000, 16_000))
    assert spend_report(ledger, rig.run.session, now=rig.clock()).cost_nanos == record.cost


def test_an_answer_out_of_a_cache_costs_nothing(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    record = drive(cancel(rig.meter, rig.admit(), price_of(GPT), flag="cache_hit"))
    assert (record.outcome, record.cost, record.flags) == ("released", 0, ("cache_hit",))
    assert rig.balance().spent == rig.held() == 0


def test_a_call_that_cost_more_than_was_held_is_booked_in_full_and_flagged(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.05", landing_reserve=0, model_calls=9)])
    record = rig.spend(rig.admit(), tokens=20_000, output=3_000)
    assert record.flags == ("overrun",)
    assert record.cost == rig.balance().spent == 80_000_000
    assert rig.balance().available == -30_000_000
    overrun = next(event for event in rig.events if event.kind == "overrun")
    assert (overrun.unit, overrun.spent) == ("usd", 80_000_000)
    assert overrun.message == "A call of gpt-4o cost $0.0300 more than reserved"
    with pytest.raises(BudgetExceeded):
        rig.admit(MINI)


def test_alerts_come_once_when_a_settlement_crosses_the_threshold(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.10", landing_reserve=0, alert_at=0.55, downgrade_at=0.9)])
    told: list[list[str]] = []
    for tokens, output in ((21_600, 0), (400, 0), (400, 0), (17_000, 0), (596, 1)):
        rig.spend(rig.admit(tokens=tokens, limit=1, useful=1), tokens=tokens, output=output)
        told.append([event.kind for event in rig.events])
        rig.events.clear()
    assert told == [[], ["alert"], [], [], ["exhausted"]]


def test_an_alert_names_the_account_and_its_state(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.10", landing_reserve=0)])
    rig.spend(rig.admit(tokens=32_000, limit=1, useful=1), tokens=32_000, output=0)
    (event,) = rig.events
    assert (event.kind, event.budget, event.account, event.unit) == (
        "alert",
        "session",
        "session|session=s1||usd",
        "usd",
    )
    assert (event.spent, event.limit, event.session) == (80_000_000, 100_000_000, "s1")
    assert event.message == "Budget 'session' has spent $0.0800 of $0.1000 (session|session=s1||usd)"


def test_alerts_come_for_calls_whose_workers_fell_silent_too(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.36", landing_reserve=0, alert_at=0.5, downgrade_at=0.9)])
    lost = rig.admit()
    assert rig.kinds() == []
    rig.clock.now = lost.deadline + 1
    rig.admit()
    assert rig.kinds() == ["alert"]
    rig.clock.now += rig.meter.hold_ttl
    presume_overdue(rig.meter)
    presume_overdue(rig.meter)
    assert rig.kinds() == ["alert", "exhausted"]


def test_a_refused_call_tells_of_what_it_presumed_on_its_way(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.20", landing_reserve=0, alert_at=0.8, downgrade_at=0.9)])
    lost = rig.admit()
    rig.clock.now = lost.deadline + 1
    with pytest.raises(BudgetExceeded):
        rig.admit()
    assert rig.kinds() == ["alert", "refusal"]


def test_each_window_has_its_own_alert(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(per=(), window="hour", model_calls=1)])
    for _ in range(3):
        rig.spend(rig.admit())
        rig.clock.now += 3_600
    assert rig.kinds() == ["alert", "exhausted"] * 3


def test_alerts_come_once_however_many_threads_settle(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(model_calls=40, landing_reserve=0), Budget(name="tenant", per="tenant", usd="1.05")])
    admissions = [rig.admit(limit=100, useful=100) for _ in range(40)]
    together = threading.Barrier(8)

    def work(share: int) -> None:
        together.wait()
        for admission in admissions[share::8]:
            rig.spend(admission, output=100)

    threads = [threading.Thread(target=work, args=(share,)) for share in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((event.kind, event.budget) for event in rig.events) == [
        ("alert", "session"),
        ("alert", "tenant"),
        ("exhausted", "session"),
    ]
    assert rig.balance("session", "model_calls").spent == 40


def test_a_listener_that_fails_harms_no_call(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(model_calls=1)])

    def broken(event: object) -> None:
        raise RuntimeError(event)

    rig.meter.listeners = (broken, rig.events.append)
    rig.spend(rig.admit())
    assert rig.kinds() == ["alert", "exhausted"]


def id_of(booking: Booking) -> object:
    assert isinstance(booking.verb, partial)
    return booking.verb.args[0]


def test_what_the_ledger_cannot_take_is_booked_with_a_later_call_in_its_order(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(usd="1.00")])
    first, second, third = (rig.admit(limit=1_000) for _ in range(3))
    faulty.down = True
    records = [rig.spend(first, output=10), rig.spend(second, output=20)]
    drive(fail(rig.meter, third, ConnectionRefusedError(), price_of(GPT), answered=False))
    assert rig.kinds() == ["unsettled"] * 3
    assert [id_of(booking) for booking in rig.meter.unsettled] == [first.id, second.id, third.id]
    assert sum(balance.held for balance in ledger.balances(ledger.accounts())) == 3 * worst(GPT, 8_000, 1_000)
    faulty.down = False
    rig.admit(limit=1_000)
    assert not rig.meter.unsettled
    assert rig.balance().spent == sum(record.cost for record in records)
    closed = [entry for entry in ledger.entries("s1") if entry.state != "reserved"]
    assert [entry.state for entry in closed] == ["settled", "settled", "released"]
    assert [entry.record["usage"]["output_tokens"] for entry in closed[:2]] == [10, 20]


def test_alerts_of_a_late_booking_are_told_when_it_is_booked(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(model_calls=2, landing_reserve=0)])
    first, second = rig.admit(), rig.admit()
    faulty.down = True
    rig.spend(first)
    rig.spend(second)
    rig.events.clear()
    faulty.down = False
    with pytest.raises(BudgetExceeded):
        rig.admit()
    assert rig.kinds() == ["alert", "exhausted", "refusal"]


def test_an_admission_waits_for_the_ledger_to_be_back(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(usd="1.00")])
    rig.spend(rig.admit())
    faulty.down = True
    with pytest.raises(LedgerUnavailable):
        rig.admit()
    faulty.down = False
    assert rig.held() == 0
    rig.admit()


def test_what_can_never_be_booked_does_not_keep_later_calls_from_being_booked(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    lost, next_ = rig.admit(limit=1_000), rig.admit(limit=1_000)
    ledger.release(lost.id, now=rig.clock())
    rig.spend(lost)
    assert rig.kinds() == ["unsettled"]
    assert "cannot be booked" in rig.events[0].message
    assert not rig.meter.unsettled
    assert rig.spend(next_).cost == rig.balance().spent


def test_no_booking_is_lost_when_threads_catch_up_together(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(usd="100.00")])
    admissions = [rig.admit(limit=1_000) for _ in range(48)]
    faulty.down = True
    for admission in admissions[:40]:
        rig.spend(admission)
    faulty.down = False
    together = threading.Barrier(8)

    def work(admission: object) -> None:
        together.wait()
        rig.spend(admission)  # type: ignore[arg-type]

    threads = [threading.Thread(target=work, args=(admission,)) for admission in admissions[40:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not rig.meter.unsettled
    assert rig.held() == 0
    assert rig.balance().spent == 48 * price_of(GPT).cost(Usage(input=8_000, output=500))


def test_a_file_that_is_away_for_a_while_loses_no_settlement(tmp_path: Path) -> None:
    path, aside = tmp_path / "spend.db", tmp_path / "aside.db"
    ledger = SqliteLedger(path)
    rig = Rig(ledger, [Budget(usd="1.00")])
    first, second = rig.admit(limit=1_000), rig.admit(limit=1_000)
    path.rename(aside)
    record = rig.spend(first)
    assert rig.kinds() == ["unsettled"]
    aside.rename(path)
    record_2 = rig.spend(second)
    assert rig.balance().spent == record.cost + record_2.cost
    assert rig.held() == 0
    ledger.close()


def test_a_long_stream_keeps_its_hold(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    admission = rig.admit()
    assert drive(keep_alive(rig.meter, admission)) is admission
    for _ in range(6):
        rig.clock.now += rig.meter.hold_ttl * 0.6
        admission = drive(keep_alive(rig.meter, admission))
        assert expired(ledger, rig.clock()) == []
    assert admission.deadline == rig.clock() + rig.meter.hold_ttl
    assert rig.spend(admission).flags == ()


def test_a_ledger_that_is_away_does_not_end_a_stream(ledger: Ledger) -> None:
    faulty = Faulty(ledger)
    rig = Rig(faulty, [Budget(usd="1.00")])
    admission = rig.admit()
    rig.clock.now += rig.meter.hold_ttl * 0.6
    faulty.down = True
    assert drive(keep_alive(rig.meter, admission)) is admission
    faulty.down = False
    assert drive(keep_alive(rig.meter, admission)).deadline > admission.deadline


def test_a_call_that_ends_after_its_hold_expired_corrects_the_presumption(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    admission = rig.admit()
    rig.clock.now = admission.deadline + 1
    assert expired(ledger, rig.clock()) == [admission.id]
    assert rig.balance().presumed == worst(GPT, 8_000, 16_000)
    record = rig.spend(admission)
    balance = rig.balance()
    assert (balance.spent, balance.presumed, balance.held) == (record.cost, 0, 0)


def test_real_counts_teach_the_margin_and_estimated_ones_do_not(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="100.00")])
    before = rig.meter.margins.bound(GPT, 8_000)
    rig.spend(rig.admit(limit=100), tokens=20_000, flags=("estimated",))
    assert rig.meter.margins.bound(GPT, 8_000) == before
    rig.spend(rig.admit(limit=100), tokens=20_000)
    assert rig.meter.margins.bound(GPT, 8_000) >= 20_000


@pytest.mark.parametrize(
    ("usage", "remembered"),
    [
        (Usage(input=500, cache_read=7_500), 8_000),
        (Usage(input=500, cache_write_5m=7_500), 8_000),
        (Usage(input=500, cache_write_1h=7_500), 8_000),
        (Usage(input=8_000), 0),
    ],
)
def test_a_prompt_that_the_provider_cached_is_remembered(ledger: Ledger, usage: Usage, remembered: int) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    drive(settle(rig.meter, rig.admit(), usage, price_of(GPT)))
    assert rig.run.cached_prefix(GPT) == remembered


def test_what_a_ledger_keeps_of_a_call_does_not_keep_its_run(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    rig.run = Run("r2", "s1")
    rig.spend(rig.admit())
    seen = weakref.ref(rig.run)
    rig.run = Run("r3", "s1")
    gc.collect()
    assert seen() is None, "a run remembers refusals, and they the stack they were raised in"
    assert [entry.record["run"] for entry in ledger.entries("s1")] == ["r2"]
