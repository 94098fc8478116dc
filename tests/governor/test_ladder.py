"""The ladder: what happens as pressure rises, decided from plain values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.governor import (
    ModelCall,
    Pressure,
    Quote,
    candidates,
    context_limit,
    least_output,
    pressure,
    tightest_on_context,
)
from budgeted_agents.governor.plan import model_plan
from budgeted_agents.ledgers.contract import Balance

CALM = Pressure()
ALERTED = Pressure(0.85, "session", downgrades=False, relieved=False)
PRESSED = Pressure(0.92, "session", downgrades=True, relieved=False)


def tier(index: int, expected: int, output_limit: int = 4_000) -> Quote:
    return Quote(index, f"model-{index}", None, 1_000, 900, 1_000, 1_000, output_limit, expected)


def call(
    *expected: int, useful: int = 1_000, clampable: bool = True, landing: frozenset[str] = frozenset()
) -> ModelCall:
    quotes = tuple(tier(index, cost) for index, cost in enumerate(expected))
    return ModelCall({}, quotes, useful, clampable=clampable, landing=landing)


def tiers_tried(call: ModelCall, state: Pressure, held: int = 0, min_output: int = 128) -> list[tuple[int, bool]]:
    return [(way.quote.tier, way.shortened) for way in candidates(call, state, held_tier=held, min_output=min_output)]


def whole(*tiers: int) -> list[tuple[int, bool]]:
    return [(index, False) for index in tiers] + [(index, True) for index in tiers]


@pytest.mark.parametrize(
    ("expected", "state", "held", "order"),
    [
        # prices of the tiers, pressure, tier held, tiers in the order tried
        ((100, 10, 1), CALM, 0, (0, 1, 2)),
        ((100, 10, 1), ALERTED, 0, (0, 1, 2)),
        ((100, 10, 1), PRESSED, 0, (1, 2)),
        ((100, 10, 1), ALERTED, 1, (1, 2)),  # stays down until the pressure is off
        ((100, 10, 1), PRESSED, 1, (1, 2)),
        ((100, 10, 1), ALERTED, 2, (2,)),
        ((100, 10, 1), CALM, 2, (0, 1, 2)),  # and then goes back up
        ((100, 10), ALERTED, 7, (1,)),  # a list that became shorter
        ((10, 100), PRESSED, 0, (0,)),  # cheaper by the list, dearer for this call: its cached tokens are forfeited
        ((10, 100, 5), PRESSED, 0, (2,)),
        ((100, 100, 100), PRESSED, 0, (0,)),
        ((100, 120, 90, 95, 80), CALM, 0, (0, 2, 4)),
        ((100,), PRESSED, 0, (0,)),
    ],
)
def test_the_order_of_tiers(expected: tuple[int, ...], state: Pressure, held: int, order: tuple[int, ...]) -> None:
    assert tiers_tried(call(*expected), state, held) == whole(*order)


def test_each_way_says_why() -> None:
    calm = candidates(call(100, 10), CALM, held_tier=0, min_output=128)
    assert [way.reason for way in calm] == [
        "as asked",
        "asked-for tier does not fit",
        *["answer shortened to what the money buys"] * 2,
    ]
    assert candidates(call(100, 10), PRESSED, held_tier=0, min_output=128)[0].reason == (
        "pressure 92% on budget 'session'"
    )
    kept = candidates(call(100, 10), ALERTED, held_tier=1, min_output=128)
    assert kept[0].reason == "kept on the cheaper tier"


def test_a_whole_answer_may_be_as_long_as_asked_and_a_shortened_one_no_shorter_than_useful() -> None:
    ways = candidates(call(100, useful=1_000), CALM, held_tier=0, min_output=128)
    assert [(way.floor, way.ask, way.shortened) for way in ways] == [(1_000, 4_000, False), (128, 4_000, True)]


@pytest.mark.parametrize("min_output", [1_000, 5_000])
def test_an_answer_is_not_cut_below_what_every_budget_finds_useful(min_output: int) -> None:
    assert tiers_tried(call(100, 10, useful=1_000), CALM, min_output=min_output) == [(0, False), (1, False)]


def test_a_call_that_asks_for_little_is_whole_with_that_little() -> None:
    ways = candidates(call(100, useful=50), CALM, held_tier=0, min_output=128)
    assert [(way.floor, way.ask) for way in ways] == [(50, 4_000)]
    tiny = ModelCall({}, (tier(0, 100, output_limit=40),), useful_output=50)
    assert [(way.floor, way.ask) for way in candidates(tiny, CALM, held_tier=0, min_output=10)] == [(40, 40), (10, 40)]


def test_a_call_that_cannot_be_clamped_fits_whole_or_not_at_all() -> None:
    ways = candidates(call(100, 10, clampable=False), CALM, held_tier=0, min_output=128)
    assert [(way.quote.tier, way.floor, way.ask, way.shortened) for way in ways] == [
        (0, 4_000, 4_000, False),
        (1, 4_000, 4_000, False),
    ]


@pytest.mark.parametrize("state", [CALM, PRESSED])
def test_landing_takes_the_cheapest_tier_first(state: Pressure) -> None:
    landing = call(100, 5, 10, 5, landing=frozenset({"session"}))
    assert tiers_tried(landing, state) == whole(1, 3, 2, 0)
    assert candidates(landing, state, held_tier=0, min_output=128)[0].reason == "landing on the cheapest tier"


states = st.builds(Pressure, st.floats(0, 2), st.just("session"), st.booleans(), st.booleans()).filter(
    lambda state: not (state.downgrades and state.relieved)
)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), states, st.integers(0, 6), st.integers(1, 2_000))
def test_whatever_the_prices_the_ways_get_cheaper_and_whole_answers_come_first(
    expected: list[int], state: Pressure, held: int, min_output: int
) -> None:
    ways = candidates(call(*expected), state, held_tier=held, min_output=min_output)
    full = [way for way in ways if not way.shortened]
    assert full
    assert ways[: len(full)] == full
    costs = [way.quote.expected for way in full]
    assert costs == sorted(set(costs), reverse=True)
    assert all(0 < way.floor <= way.ask for way in ways)
    cut = [way.quote.tier for way in ways[len(full) :]]
    assert cut in ([], [way.quote.tier for way in full])
    if state.relieved:
        assert full[0].quote.tier == 0


def share_of(spent: Sequence[int], *, where: Sequence[Budget], held: int = 0, credit: int = 0) -> Pressure:
    policy = Policy(tuple(where))
    holds = model_plan(policy, {"session": "s"}, tier(0, 100), now=0.0).terms
    balances = [
        Balance(hold.account, hold.limit + credit, used, held, credit) for hold, used in zip(holds, spent, strict=True)
    ]
    return pressure(policy, holds, balances)


@pytest.mark.parametrize(
    ("spent", "held", "credit", "utilization", "downgrades", "relieved"),
    [
        (0, 0, 0, 0.0, False, True),
        (79, 0, 0, 0.79, False, True),
        (80, 0, 0, 0.8, False, False),
        (89, 0, 0, 0.89, False, False),
        (90, 0, 0, 0.9, True, False),
        (60, 30, 0, 0.9, True, False),  # money that calls in flight hold presses too
        (90, 0, 100, 0.45, False, True),  # a top-up relieves
        (120, 0, 0, 1.2, True, False),
    ],
)
def test_pressure_is_the_share_spent_or_held(
    spent: int, held: int, credit: int, utilization: float, downgrades: bool, relieved: bool
) -> None:
    found = share_of([spent], where=[Budget(usd="0.0000001")], held=held, credit=credit)
    assert found == Pressure(utilization, "session" if utilization else "", downgrades, relieved)


def test_the_fullest_of_several_budgets_presses_and_all_must_be_relieved() -> None:
    budgets = [Budget(usd="0.0000001"), Budget(name="tenant", per="tenant", usd="0.000001")]
    assert share_of([50, 850], where=budgets) == Pressure(0.85, "tenant", False, False)
    assert share_of([50, 950], where=budgets) == Pressure(0.95, "tenant", True, False)
    assert share_of([85, 100], where=budgets) == Pressure(0.85, "session", False, False)


def test_tokens_and_calls_are_shown_but_do_not_press_towards_a_cheaper_model() -> None:
    assert share_of([95, 10], where=[Budget(tokens=100, model_calls=10)]) == Pressure(1.0, "session", False, True)


def test_a_shadow_budget_presses_nobody() -> None:
    found = share_of([95], where=[Budget(usd="0.0000001", mode="shadow")])
    assert (found.utilization, found.downgrades, found.relieved) == (0.95, False, True)


def test_thresholds_are_each_budgets_own() -> None:
    early = Budget(usd="0.0000001", alert_at=0.1, downgrade_at=0.2)
    assert share_of([15], where=[early]) == Pressure(0.15, "session", False, False)
    assert share_of([20], where=[early]) == Pressure(0.2, "session", True, False)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_tiers_do_not_flap(spent_at_each_call: list[int]) -> None:
    """Once down at 90 %, the call goes back up at a call that finds the pressure below 80 %, and at no other."""
    held, was_down = 0, False
    for spent in spent_at_each_call:
        state = share_of([spent], where=[Budget(usd="0.0000001")])
        used = candidates(call(100, 10), state, held_tier=held, min_output=128)[0].quote.tier
        assert used == (1 if spent >= 90 or (was_down and spent >= 80) else 0)
        if used or state.relieved:
            held = used
        was_down = bool(used)


def test_the_strictest_budget_that_enforces_says_what_is_useful_and_how_much_context_there_may_be() -> None:
    budgets = [
        Budget(usd=1, min_output_tokens=64, context_tokens=9_000),
        Budget(usd=1, min_output_tokens=256, context_tokens=16_000),
        Budget(usd=1, min_output_tokens=4_096, context_tokens=100, mode="shadow"),
    ]
    assert (least_output(budgets), context_limit(budgets)) == (256, 9_000)
    assert (least_output([]), context_limit([])) == (1, None)


def test_the_tightest_cap_on_context_decides_what_becomes_of_old_turns() -> None:
    trims = Budget(name="trims", context_tokens=9_000)
    sums_up = Budget(name="sums up", context_tokens=9_000, context_overflow="summarize")
    looser = Budget(name="looser", context_tokens=9_001, context_overflow="summarize")
    watches = Budget(name="watches", context_tokens=100, context_overflow="summarize", mode="shadow")
    assert tightest_on_context([looser, trims, watches, MONEY]) is trims
    assert tightest_on_context([trims, sums_up, looser]) is sums_up
    assert tightest_on_context([watches, MONEY]) is None


MONEY = Budget(usd=1)


def test_a_shortened_answer_leaves_room_for_what_its_model_thinks_first() -> None:
    quote = Quote(0, "gpt-5", None, 1_000, 900, 1_000, 1_000, 16_000, thinking=2_000)
    ways = candidates(ModelCall({}, (quote,), 256), CALM, held_tier=0, min_output=128)
    assert [(way.floor, way.ask, way.shortened) for way in ways] == [(2_256, 16_000, False), (2_128, 16_000, True)]


def test_no_room_is_left_for_thinking_that_the_call_itself_does_not_leave() -> None:
    quote = Quote(0, "gpt-5", None, 1_000, 900, 1_000, 1_000, 500, thinking=2_000)
    ways = candidates(ModelCall({}, (quote,), 500), CALM, held_tier=0, min_output=128)
    assert [(way.floor, way.ask, way.shortened) for way in ways] == [(500, 500, False)]
