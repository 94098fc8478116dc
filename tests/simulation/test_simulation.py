"""Recorded calls under other policies: cases small enough to be computed by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from budgeted_agents.budget import Budget
from budgeted_agents.errors import UnknownPrice
from budgeted_agents.money import NANO
from budgeted_agents.traces.call import (
    CLIENT_CACHE_HIT,
    ESTIMATED,
    LOCAL_MODEL,
    NO_USAGE_RECORDED,
    SYNTHETIC,
    TracedCall,
)
from budgeted_agents.usage import Usage
from tests.simulation.support import LARGE, SMALL, START, call, calls, outcome_of, session_of, simulated

CENT = NANO // 100
COST = 9 * NANO // 1000
"""Of one call by the large model: 400 tokens at $10 and 100 at $50 for a million."""

CHEAP = COST // 10


def test_a_policy_that_is_never_reached_changes_nothing() -> None:
    policy = simulated(
        [*calls(5), *calls(3, "s2")], Budget(usd=100, tokens=10**9, tool_calls=100), models=[LARGE, SMALL]
    )
    assert policy.totals.cost == policy.totals.cost_after == 8 * COST
    assert policy.saved_usd == 0
    assert policy.endings == {"landed": 0, "suspended": 0, "raised": 0}
    assert policy.sessions_alerted == policy.sessions_downgraded == policy.totals.calls_cut == 0


@pytest.mark.parametrize(
    ("how", "ending", "made"),
    [("suspend", "suspended", 3), ("raise", "raised", 3), ("land", "landed", 2)],  # one call is kept for landing
)
def test_what_comes_after_the_refused_call_is_cut(how: str, ending: str, made: int) -> None:
    session = session_of(calls(6), Budget(model_calls=3, on_exhausted=how))
    found = session.outcome
    assert (session.ending, found.calls_cut, found.cost_after) == (ending, 6 - made, made * COST)
    assert (found.tokens_cut, found.cost_cut) == ((6 - made) * 500, (6 - made) * COST)
    assert found.ended is not None
    assert (found.ended.moment.call, found.ended.moment.at) == (made + 1, START + 10 * made)
    assert found.ended.moment.model == LARGE


def test_the_answer_is_cut_to_what_the_money_buys() -> None:
    """The hold of a prompt of 400 tokens is for 432, which is $0.00432; 200 tokens of an answer are $0.01."""
    budget = Budget(usd="0.01432", on_exhausted="raise", min_output_tokens=150)
    found = outcome_of([call(0, output=700)], budget)
    assert (found.shortened, found.tokens_shortened) == (1, 500)
    assert found.cost_after == 400 * 10_000 + 200 * 50_000
    assert found.saved == 500 * 50_000


def test_an_answer_too_short_to_be_of_use_is_refused() -> None:
    budget = Budget(usd="0.01432", on_exhausted="raise", min_output_tokens=201)
    found = outcome_of([call(0)], budget)
    assert (found.calls_cut, found.cost_after, found.saved) == (1, 0, COST)


@pytest.mark.parametrize(
    ("more", "ended"),
    [
        ({"usage": Usage(input=400, output=500, reasoning=200)}, True),  # it is still thinking when it is cut off
        ({"usage": Usage(input=400, output=500, reasoning=199)}, False),
        (
            {"usage": Usage(input=400, output=700), "tools": (("look_up", ""),)},
            True,
        ),  # of which only half was asked for
    ],
)
def test_an_answer_cut_off_before_it_is_of_use_ends_the_work(more: dict[str, Any], ended: bool) -> None:
    """Of what follows, nothing is made where the work has ended; else it is refused, as nothing is left."""
    budget = Budget(usd="0.01432", on_exhausted="raise", min_output_tokens=150)
    found = outcome_of([call(0, **more), call(1)], budget)
    assert (found.shortened, found.calls_cut, found.tool_calls_cut) == (1, 1, int("tools" in more))
    assert found.ended is not None
    assert found.ended.moment.call == (1 if ended else 2)


def test_an_output_limit_is_what_calls_ask_for() -> None:
    """$0.00432 and 100 tokens of an answer fit, so the call fits as it is."""
    budget = Budget(usd="0.00932", on_exhausted="raise", min_output_tokens=500)
    assert outcome_of([call(0)], budget, output_limit=100).calls_cut == 0
    assert outcome_of([call(0)], budget, output_limit=101).calls_cut == 1


def test_calls_step_down_under_pressure() -> None:
    """Of 10 cents 9 are spent after ten calls, so the eleventh goes to the cheaper model, and stays there."""
    budget = Budget(usd="0.10", on_exhausted="raise")
    found = outcome_of(calls(12), budget, models=[LARGE, SMALL])
    assert found.stepped_down is not None
    first = found.stepped_down.call - 1
    assert found.downgraded == 12 - first
    assert found.cost_after == first * COST + (12 - first) * CHEAP
    assert found.cost_after <= 10 * CENT
    assert found.ended is None


def test_an_alert_is_raised_by_the_call_that_crosses_the_threshold() -> None:
    """8 of 10 cents are spent with the ninth call (8.1)."""
    found = outcome_of(calls(10), Budget(usd="0.10", mode="shadow"))
    assert found.alerted is not None
    assert found.alerted.call == 9


def test_a_model_not_in_the_list_may_step_down_to_all_of_it() -> None:
    found = outcome_of(calls(3), Budget(usd="0.02", on_exhausted="raise"), models=[SMALL])
    assert found.downgraded > 0


def test_the_last_of_the_list_steps_down_no_further() -> None:
    found = outcome_of(calls(3, model=SMALL), Budget(usd="0.002", on_exhausted="raise"), models=[LARGE, SMALL])
    assert found.downgraded == 0


def test_a_recording_that_was_stepped_down_is_asked_of_the_better_model() -> None:
    recorded = calls(2, model=SMALL, model_asked=LARGE)
    assert outcome_of(recorded, Budget(usd=1), models=[LARGE, SMALL]).cost_after == 2 * COST
    assert outcome_of(recorded, Budget(usd=1)).cost_after == 2 * CHEAP


def test_a_switch_forfeits_the_prompt_cache() -> None:
    """Both calls read 300 tokens from the cache. The cheaper model has none of them at first, then those it wrote."""
    recorded = calls(2, usage=Usage(input=100, cache_read=300, output=100))
    as_recorded, missed, hit = 6_300_000, CHEAP, CHEAP - 300 * 900
    assert outcome_of(recorded, Budget(usd=1)).cost_after == 2 * as_recorded
    at_once = Budget(usd=1, downgrade_at=0.0, alert_at=0.0)
    found = outcome_of(recorded, at_once, models=[LARGE, SMALL])
    assert (found.downgraded, found.cost, found.cost_after) == (2, 2 * as_recorded, missed + hit)


def test_cached_tokens_that_only_the_recorded_cost_shows_are_cached() -> None:
    """$0.0063 is what 400 tokens cost of which 300 were read from the cache."""
    found = outcome_of([call(0, recorded_cost=Decimal("0.0063"))], Budget(usd=1))
    assert (found.cost, found.cost_after) == (6_300_000, 6_300_000)


def test_calls_at_the_same_time_hold_at_the_same_time() -> None:
    """The first call's answer may have 1,000 tokens, so while it goes on nothing is left for the second, which waits
    30 seconds for it, and is admitted when the first has ended."""
    budget = Budget(usd="0.06", on_exhausted="raise", min_output_tokens=900)
    together = [call(0, ended_at=START + 20), call(0, id="s1/0b")]
    assert outcome_of(together, budget).calls_cut == 0
    assert outcome_of(together, budget.model_copy(update={"max_wait": 0.0})).calls_cut == 1


def test_what_a_call_gives_back_at_a_moment_is_there_at_that_moment() -> None:
    """The second call may wait just as long as the first one takes (a share of a second that a float holds exactly)."""
    budget = Budget(usd="0.06", on_exhausted="raise", min_output_tokens=900, max_wait=1 / 512)
    assert outcome_of([call(0, ended_at=START + 1 / 512), call(0, id="s1/0b")], budget).calls_cut == 0
    assert outcome_of([call(0, ended_at=START + 2 / 512), call(0, id="s1/0b")], budget).calls_cut == 1


def test_what_was_begun_before_the_refusal_goes_on() -> None:
    slow = [call(0, ended_at=START + 100), call(1), call(2), call(3)]
    found = outcome_of(slow, Budget(model_calls=2, on_exhausted="suspend"))
    assert (found.calls_cut, found.cost_after) == (2, 2 * COST)


def test_the_order_of_the_file_does_not_matter() -> None:
    recorded = calls(6)
    shuffled = [recorded[index] for index in (3, 0, 5, 1, 4, 2)]
    found = outcome_of(shuffled, Budget(model_calls=3, on_exhausted="raise"))
    assert found.ended is not None
    assert found.ended.moment.at == START + 30


def test_calls_without_times_go_in_the_order_of_their_file() -> None:
    found = outcome_of(calls(6, started_at=0.0, ended_at=0.0), Budget(model_calls=3, on_exhausted="raise"))
    assert found.ended is not None
    assert (found.ended.moment.call, found.calls_cut) == (4, 3)


def test_a_budget_of_many_sessions_is_charged_by_all_of_them() -> None:
    recorded = [call(n, f"s{n}", attribution={"tenant": "acme" if n % 2 else "umbrella"}) for n in range(8)]
    policy = simulated(recorded, Budget(per="tenant", window="month", model_calls=3))
    cut = {session.session_id for session in policy.sessions if session.outcome.calls_cut}
    assert cut == {"s6", "s7"}  # the fourth of each tenant


def test_a_new_window_lets_work_go_on() -> None:
    hours = [call(n, started_at=START + 1800 * n, ended_at=START + 1800 * n + 1) for n in range(6)]
    found = outcome_of(hours, Budget(per="session", window="hour", model_calls=1, on_exhausted="raise"))
    assert (found.calls_cut, found.cost_after) == (3, 3 * COST)


def test_a_budget_a_run_ends_the_run_only() -> None:
    runs = [call(n, trace=f"t{n // 3}") for n in range(6)]
    found = outcome_of(runs, Budget(per="run", model_calls=2, on_exhausted="raise"))
    assert found.calls_cut == 2


def test_a_class_of_models_has_a_budget_of_its_own() -> None:
    recorded = [*calls(3), *(call(n, model=SMALL) for n in range(3, 6))]
    found = outcome_of(recorded, Budget(where={"model": (LARGE,)}, model_calls=5, on_exhausted="raise"))
    assert found.calls_cut == 0


def test_a_refused_tool_does_not_end_the_work() -> None:
    tools = [call(n, id=f"t{n}", kind="tool", tool="search", usage=Usage(), model="") for n in range(3, 8)]
    found = outcome_of([*calls(3), *tools, *(call(n) for n in range(8, 10))], Budget(tool_calls=2))
    assert (found.tool_calls, found.tool_calls_cut, found.calls_cut) == (5, 3, 0)


def test_tools_that_answers_ask_for_count_too() -> None:
    asked = calls(3, tools=(("search", ""), ("read", "")))
    found = outcome_of(asked, Budget(tool_calls={"search": 1}))
    assert (found.tool_calls, found.tool_calls_cut) == (6, 2)


def test_tools_of_calls_that_are_cut_are_cut() -> None:
    asked = calls(4, tools=(("search", ""),))
    found = outcome_of(asked, Budget(model_calls=1, on_exhausted="raise"))
    assert (found.tool_calls, found.tool_calls_cut) == (4, 3)


def test_a_budget_in_shadow_mode_changes_nothing_and_tells() -> None:
    session = session_of(calls(6), Budget(model_calls=3, on_exhausted="raise", mode="shadow"))
    found = session.outcome
    assert (session.ending, found.calls_cut, found.saved) == ("", 0, 0)
    assert found.watched is not None
    assert found.watched.call == 4


def test_a_context_above_its_cap_is_flagged() -> None:
    session = session_of([call(0), call(1, tokens=5_000)], Budget(context_tokens=1_000, usd=1))
    assert (session.outcome.over_context, session.flags) == (1, ("over_context",))


def test_a_call_that_cost_more_than_was_held_is_flagged() -> None:
    """No answer of this model should be longer than 1,000 tokens."""
    far_too_long = call(0, output=5_000)
    session = session_of([far_too_long], Budget(usd=1))
    assert session.outcome.overruns == 1
    assert session.flags == ("overrun",)


def test_what_lands_may_spend_its_reserve_besides() -> None:
    found = outcome_of(calls(30), Budget(usd="0.10", landing_reserve=0.2))
    assert found.landing_reserve == 2 * CENT
    assert found.cost_after <= 8 * CENT


def test_calls_that_cost_nothing_cost_nothing() -> None:
    free = [
        call(0, flags=(CLIENT_CACHE_HIT,)),
        call(1, flags=(LOCAL_MODEL,), model="llama"),
        call(2, error="RateLimitError", usage=Usage()),
    ]
    found = outcome_of(free, Budget(usd="0.50"))
    assert (found.calls, found.cost, found.cost_after, found.unpriced) == (3, 0, 0, 0)


def test_a_made_up_call_is_no_call() -> None:
    assert outcome_of([call(0), call(1, flags=(SYNTHETIC,))], Budget(usd=1)).calls == 1


@pytest.mark.parametrize("odd", [call(1, model="no-such-model"), call(1, usage=Usage(), flags=(NO_USAGE_RECORDED,))])
def test_what_has_no_price_is_left_out_and_told(odd: TracedCall) -> None:
    session = session_of([call(0), odd], Budget(usd=1))
    assert (session.outcome.unpriced, session.outcome.cost) == (1, COST)
    assert "unpriced_calls" in session.flags


def test_a_price_is_needed_only_where_money_is_counted() -> None:
    found = outcome_of(calls(3, model="no-such-model"), Budget(model_calls=1, on_exhausted="raise"))
    assert (found.unpriced, found.calls_cut) == (0, 2)


def test_estimated_tokens_teach_no_margin() -> None:
    recorded = calls(20, flags=(ESTIMATED,))
    assert outcome_of(recorded, Budget(usd=1)).cost_after == 20 * COST


def test_a_model_to_step_down_to_needs_a_price() -> None:
    with pytest.raises(UnknownPrice, match=r"gpt-4o-smal.*Nearest known names: gpt-4o-small"):
        simulated(calls(1), Budget(usd=1), models=["gpt-4o-smal"])


def test_embeddings_are_charged_and_not_stepped_down() -> None:
    usage = Usage(input=400)
    found = outcome_of(
        calls(5, kind="embedding", usage=usage), Budget(usd="0.012", on_exhausted="raise"), models=[SMALL]
    )
    assert (found.downgraded, found.calls_cut, found.cost_after) == (0, 3, 2 * 400 * 10_000)


@pytest.mark.parametrize("name", ["x" * 300, "caf\udce9", "a|b=c,d", " "])
def test_any_session_has_an_account_of_its_own(name: str) -> None:
    recorded = [*calls(2, name), *calls(2, name + "2")]
    policy = simulated(recorded, Budget(model_calls=1, on_exhausted="raise"))
    assert [session.outcome.calls_cut for session in policy.sessions] == [1, 1]
    assert {session.session_id for session in policy.sessions} == {name, name + "2"}


def test_nonsense_times_do_not_matter() -> None:
    odd = [float("nan"), float("inf"), -5.0, 1e300, START]
    found = outcome_of([call(n, started_at=at, ended_at=at) for n, at in enumerate(odd)], Budget(usd=1, window="day"))
    assert found.calls == 5
