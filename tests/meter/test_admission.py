"""Admission: money is held by the best tier that fits, or the call is refused before anything is sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.ledgers.contract import Ledger
from budgeted_agents.meter import admit, fail
from tests.meter.support import GPT, MINI, Rig, price_of, worst


def test_a_call_that_fits_is_admitted_as_asked(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    admission = rig.admit(GPT, MINI)
    assert (admission.way.quote.model, admission.way.reason) == (GPT, "as asked")
    assert (admission.granted, admission.output_limit) == (16_000, None)
    assert admission.reserved == rig.balance().held == worst(GPT, 8_000, 16_000)
    assert admission.deadline == rig.clock() + rig.meter.hold_ttl
    assert rig.kinds() == []


def test_the_answer_is_limited_to_what_the_money_buys(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.05", landing_reserve=0)])
    admission = rig.admit()
    assert admission.output_limit == admission.granted == 3_000
    assert rig.balance().available == 0


def test_a_tier_that_does_not_fit_gives_way_to_the_next(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.02")])
    admission = rig.admit(GPT, MINI)
    assert (admission.way.quote.model, admission.way.reason) == (MINI, "asked-for tier does not fit")
    assert not admission.way.shortened
    assert rig.kinds() == ["downgrade"]


def test_an_answer_is_cut_only_after_every_tier_was_too_dear_for_a_whole_one(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.0015", landing_reserve=0)])
    admission = rig.admit(GPT, MINI)
    assert (admission.way.quote.model, admission.way.shortened, admission.granted) == (MINI, True, 500)


def test_below_the_least_useful_answer_the_call_is_refused(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.0012", landing_reserve=0)])
    with pytest.raises(BudgetExceeded) as caught:
        rig.admit(GPT, MINI, attribution={"node": "writer"})
    error = caught.value
    assert (error.budget, error.unit, error.account) == ("session", "usd", "session|session=s1||usd")
    assert (error.needed, error.available, error.limit) == (worst(MINI, 8_000, 128), 1_200_000, 1_200_000)
    assert "cannot cover a call of gpt-4o-mini with 8,000 input tokens" in str(error)
    assert rig.held() == 0
    assert [event.kind for event in rig.events] == ["refusal"]
    (note,) = ledger.notes("s1")
    assert note.body["kind"] == "refusal"
    assert (note.body["budget"], note.body["node"], note.body["run"]) == ("session", "writer", "r1")


def test_a_call_that_cannot_be_clamped_is_held_whole_or_refused(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.10", landing_reserve=0)])
    with pytest.raises(BudgetExceeded):
        rig.admit(clampable=False)
    assert rig.admit(clampable=False, limit=8_000).granted == 8_000


def test_pressure_steps_down_and_stays_down_until_it_is_off(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    rig.spend(rig.admit(), tokens=364_000, output=0)  # $0.91
    assert rig.admit(GPT, MINI).way.quote.model == MINI
    fail_unbilled(rig)
    raised = rig.meter.policy.budgets[0].model_copy(update={"usd": "1.10"})  # 83 %: below downgrade_at, not alert_at
    rig.meter = replace(rig.meter, policy=Policy((raised,)))
    assert rig.admit(GPT, MINI).way.reason == "kept on the cheaper tier"
    rig.meter = replace(rig.meter, policy=Policy((raised.model_copy(update={"usd": 5}),)))
    assert rig.admit(GPT, MINI).way.quote.model == GPT
    assert rig.kinds().count("downgrade") == 1


def fail_unbilled(rig: Rig) -> None:
    for entry in list(rig.ledger.entries("s1")):
        if entry.state == "reserved":
            rig.ledger.release(entry.id, now=rig.clock())


def test_a_cheaper_list_price_that_forfeits_the_cache_is_not_taken(ledger: Ledger) -> None:
    budget = Budget(usd="1.00", alert_at=0, downgrade_at=0)
    cached = {"gpt-4.1": 100_000}
    dearer = Rig(ledger, [budget]).admit("gpt-4.1", "gpt-4o", tokens=100_000, useful=100, cached=cached)
    assert dearer.way.quote.model == "gpt-4.1"
    cheaper = Rig(ledger, [budget]).admit("gpt-4.1", MINI, tokens=100_000, useful=100, cached=cached)
    assert cheaper.way.quote.model == MINI


def test_all_budgets_must_admit_and_the_one_that_binds_is_named(ledger: Ledger) -> None:
    tenant = Budget(name="tenant", per="tenant", usd="0.02")
    rig = Rig(ledger, [Budget(usd=5), tenant, Budget(name="all", per=(), tokens=10**9)])
    with pytest.raises(BudgetExceeded) as caught:
        rig.admit(GPT, attribution={"tenant": "acme"})
    assert (caught.value.budget, caught.value.account) == ("tenant", "tenant|tenant=acme||usd")
    assert rig.held() == 0
    rig.admit(MINI, attribution={"tenant": "acme"})
    assert {b.account.budget for b in ledger.balances(ledger.accounts()) if b.held} == {"session", "tenant", "all"}


def test_a_budget_on_a_model_class_steps_calls_out_of_the_class(ledger: Ledger) -> None:
    premium = Budget(name="premium", per="tenant", where={"model_class": "premium"}, usd="0.03")
    rig = Rig(ledger, [Budget(usd=5), premium], classes={"premium": (GPT,)})
    assert rig.admit(GPT, MINI).way.quote.model == GPT
    assert rig.admit(GPT, MINI).way.quote.model == MINI
    assert rig.balance("premium").held == worst(GPT, 8_000, 1_000)


def test_only_a_landing_call_may_spend_the_landing_reserve(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.05", landing_reserve=0.5)])
    with pytest.raises(BudgetExceeded) as caught:
        rig.admit(tokens=9_600)
    assert caught.value.available == 25_000_000
    admission = rig.admit(GPT, MINI, tokens=9_600, landing=frozenset({"session"}))
    assert (admission.way.quote.model, admission.way.reason) == (MINI, "landing on the cheapest tier")


def test_a_shadow_budget_changes_nothing_and_says_what_it_would_have_done(ledger: Ledger) -> None:
    shadow = Budget(name="trial", usd="0.001", mode="shadow", min_output_tokens=15_000, max_wait=0)
    rig = Rig(ledger, [Budget(usd="0.05", landing_reserve=0), shadow])
    admission = rig.admit(GPT, MINI)
    assert (admission.way.quote.model, admission.granted) == (GPT, 3_000)
    assert admission.flags == ("shadow: budget 'trial' would have refused",)
    record = rig.spend(admission)
    assert record.flags == admission.flags
    assert rig.kinds()[0] == "shadow"
    assert rig.balance("trial").spent == record.cost == rig.balance("session").spent


def test_a_shadow_budget_with_room_is_not_mentioned(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(name="trial", usd="1", mode="shadow")])
    assert rig.admit().flags == ()


def test_without_a_budget_calls_are_admitted_and_recorded(ledger: Ledger) -> None:
    rig = Rig(ledger, [])
    record = rig.spend(rig.admit())
    assert (record.reserved, record.granted) == (0, 16_000)
    assert "overrun" not in record.flags
    assert [entry.state for entry in ledger.entries("s1")] == ["settled"]


def test_a_ledger_that_cannot_note_a_refusal_does_not_change_it(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.0001")])
    steps = admit(rig.meter, rig.run, rig.call())
    effect = next(steps)
    while True:
        assert callable(effect)
        if rig.events:
            ledger.close()  # the refusal has been published; its note comes next
        try:
            result = effect()
        except Exception as error:  # noqa: BLE001 -- the generator decides
            with pytest.raises(BudgetExceeded):
                steps.throw(error)
            break
        effect = steps.send(result)
    assert rig.kinds() == ["refusal", "unsettled"]


def test_what_a_dead_worker_leaves_says_who_and_what(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="0.02")])
    admission = rig.admit(GPT, MINI, attribution={"node": "writer"})
    (entry,) = ledger.entries("s1")
    assert entry.id == admission.id
    assert entry.memo["attribution"] == {"session": "s1", "node": "writer"}
    assert (entry.memo["model_asked"], entry.memo["model_used"], entry.memo["run"]) == (GPT, MINI, "r1")


def test_a_failure_that_was_not_billed_gives_the_money_back(ledger: Ledger) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    rig.by_hand(fail(rig.meter, rig.admit(), ConnectionRefusedError(), price_of(GPT), answered=False))
    assert (rig.balance().held, rig.balance().spent) == (0, 0)
