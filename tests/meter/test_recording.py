"""Each call is written down before it is booked, with all that a ledger needs to have it back; nothing harms a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.ledgers import Ledger, State, TopUp, top_up
from budgeted_agents.ledgers.topping_up import TopUpLine
from budgeted_agents.meter import admit_tool, cancel, drive, fail, settle, settle_tool
from budgeted_agents.traces import BudgetEvent, CallRecord, Recorded, ToppedUp
from budgeted_agents.traces.records.journal import Journal, read_journal
from budgeted_agents.usage import Usage
from tests.meter.support import GPT, MINI, START, Faulty, Rig, price_of


@dataclass
class Witness:
    """Hears of each call, and looks at what the ledger says of it then."""

    ledger: Ledger
    calls: list[CallRecord] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    events: list[BudgetEvent] = field(default_factory=list)

    def parent(self) -> str:
        return "here"

    def call(self, record: CallRecord) -> None:
        self.calls.append(record)
        self.states += [entry.state for entry in self.ledger.entries() if entry.id == record.id]

    def event(self, event: BudgetEvent) -> None:
        self.events.append(event)

    def top_up(self, topped_up: object) -> None:
        raise AssertionError("nothing is topped up here")


class Broken(Witness):
    def call(self, record: CallRecord) -> None:
        raise RuntimeError("no space left")

    event = call  # type: ignore[assignment]


def rig_with(ledger: Ledger, *budgets: Budget, kind: type[Witness] = Witness) -> tuple[Rig, Witness]:
    rig = Rig(ledger, budgets or [Budget(usd="1.00", tokens=100_000, tool_calls=3)])
    witness = kind(ledger)
    rig.meter.recorders = (witness,)
    return rig, witness


def in_journal(journal: Journal) -> list[Recorded]:
    return [line.recorded for line in read_journal(journal.path, [])]


ENDINGS: dict[str, tuple[State, Callable[[Rig], Any]]] = {
    "settled": (State.SETTLED, lambda rig: rig.spend(rig.admit())),
    "presumed": (
        State.PRESUMED,
        lambda rig: drive(fail(rig.meter, rig.admit(), TimeoutError(), price_of(GPT), answered=False)).record(),
    ),
    "released": (
        State.RELEASED,
        lambda rig: drive(cancel(rig.meter, rig.admit(), price_of(GPT), flag="cache_hit")).record(),
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_call_is_written_down_before_it_is_booked(ledger: Ledger, ending: str) -> None:
    rig, witness = rig_with(ledger)
    state, end = ENDINGS[ending]
    record = end(rig)
    assert witness.states == [State.RESERVED]
    (written,), (entry,) = witness.calls, list(ledger.entries())
    assert (entry.state, written.outcome) == (state, record.outcome)
    assert written.to_json() == record.to_json()
    assert CallRecord.from_json(entry.record) == record
    assert tuple((key, held) for key, _, held in written.holds) == entry.held
    assert [limit for _, limit, _ in written.holds] == [10**9, 100_000]
    assert written.parent == "here"


def test_what_is_charged_is_written_down_by_unit(ledger: Ledger) -> None:
    rig, witness = rig_with(ledger)
    record = rig.spend(rig.admit(), tokens=700, output=50)
    assert witness.calls[0].actual == {"usd": record.cost, "tokens": 750, "model_calls": 1, "requests": 1}
    assert (witness.calls[0].provider, witness.calls[0].booked) == ("openai", True)


def test_every_class_of_usage_is_written_down(ledger: Ledger) -> None:
    rig, witness = rig_with(ledger)
    usage = Usage(input=10, image_input=5, web_searches=2, output=3, image_output=4)
    drive(settle(rig.meter, rig.admit(), usage, price_of(GPT), service_tier="priority"))
    assert witness.calls[0].usage == {
        "input_tokens": 15,
        "output_tokens": 7,
        "image_input": 5,
        "image_output": 4,
        "web_searches": 2,
    }
    assert witness.calls[0].service_tier == "priority"


def test_a_tool_is_written_down_whether_it_is_counted_or_not(ledger: Ledger) -> None:
    for budget, booked in ((Budget(tool_calls=3), True), (Budget(usd="1"), False)):
        rig, witness = rig_with(ledger, budget)
        admission = drive(admit_tool(rig.meter, rig.run, "search", {"session": "s1"}))
        drive(settle_tool(rig.meter, admission))
        (written,) = witness.calls
        assert (written.kind, written.tool, written.booked, bool(written.holds)) == ("tool", "search", booked, booked)


def test_a_call_the_ledger_cannot_take_yet_is_written_down_once(ledger: Ledger) -> None:
    faulty: Any = Faulty(ledger)
    rig, witness = rig_with(faulty)
    witness.ledger = ledger
    admission = rig.admit()
    faulty.down = True
    rig.spend(admission)
    assert (len(witness.calls), rig.kinds()) == (1, ["unsettled"])
    faulty.down = False
    rig.spend(rig.admit())
    assert [entry.state for entry in ledger.entries()] == [State.SETTLED] * 2
    assert len(witness.calls) == 2


def test_a_recorder_that_fails_costs_no_answer_and_no_booking(ledger: Ledger) -> None:
    rig, _ = rig_with(ledger, kind=Broken)
    record = rig.spend(rig.admit())
    assert rig.balance().spent == record.cost
    assert rig.kinds() == ["unrecorded"]
    assert "no space left" in rig.events[0].message


def test_a_journal_that_cannot_be_written_costs_no_answer_and_no_booking(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    rig = Rig(ledger, [Budget(usd="1.00")])
    rig.meter.recorders = (Journal(tmp_path / "taken"),)
    record = rig.spend(rig.admit())
    assert (rig.balance().spent, rig.kinds()) == (record.cost, ["unrecorded"])


def test_an_interruption_while_it_is_written_down_still_books_it(ledger: Ledger) -> None:
    rig, witness = rig_with(ledger)
    steps = settle(rig.meter, rig.admit(), Usage(input=10), price_of(GPT))
    write: Any = next(steps)
    write()
    effect = steps.throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        rig.by_hand(steps, effect)
    assert (len(witness.calls), [entry.state for entry in ledger.entries()]) == (1, [State.SETTLED])


def test_decisions_are_written_down_with_their_time_and_run(ledger: Ledger) -> None:
    rig, witness = rig_with(ledger, Budget(usd="0.10", landing_reserve=0, alert_at=0.5, downgrade_at=0.6))
    rig.clock.now += 7
    rig.spend(rig.admit(GPT, MINI, tokens=20_000, limit=1_000), tokens=20_000, output=1_000)
    rig.spend(rig.admit(GPT, MINI, tokens=8_000), tokens=8_000, output=10)
    with pytest.raises(BudgetExceeded):
        rig.admit(GPT, tokens=100_000, limit=16_000)
    told = [(event.kind, event.run, event.at) for event in witness.events]
    assert told == [("alert", "r1", START + 7), ("downgrade", "r1", START + 7), ("refusal", "r1", START + 7)]


def test_a_top_up_is_written_down_with_the_accounts_own_limit(ledger: Ledger, tmp_path: Path) -> None:
    rig = Rig(ledger, [Budget(usd="1.00")])
    journal = Journal(tmp_path / "journal")
    rig.meter.recorders = (journal,)
    rig.spend(rig.admit())
    line = TopUpLine(rig.balance().account, 500, 10**9)
    told = partial(rig.meter.topped_up, session="s1")
    top_up(ledger, [line], id="up-1", by="ada", session="s1", now=START, told=told)
    assert in_journal(journal)[-1] == ToppedUp(TopUp("up-1", line.account, 500, "ada", "", START), 10**9, "s1")
    (tmp_path / "taken").write_text("")
    rig.meter.recorders = (Journal(tmp_path / "taken"),)
    top_up(ledger, [line], id="up-2", by="ada", now=START, told=told)
    assert (rig.balance().credit, rig.kinds()) == (1_000, ["unrecorded"])


def test_the_journal_holds_calls_and_decisions_in_their_order(ledger: Ledger, tmp_path: Path) -> None:
    rig = Rig(ledger, [Budget(usd="0.10", landing_reserve=0, alert_at=0.5, downgrade_at=0.9)])
    journal = Journal(tmp_path / "journal")
    rig.meter.recorders = (journal,)
    record = rig.spend(rig.admit(GPT, tokens=20_000, limit=1_000), tokens=20_000, output=1_000)
    call, alert = in_journal(journal)
    assert isinstance(call, CallRecord)
    assert isinstance(alert, BudgetEvent)
    assert (call.id, call.cost, alert.kind) == (record.id, record.cost, "alert")
