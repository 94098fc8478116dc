from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.estimate import Margins
from budgeted_agents.estimate.margin import CONFIRMED, SAFE_PERCENT, SAFE_TOKENS, SHORT, WINDOW

EXACT, FOREIGN = "openai/gpt-4o", "anthropic/claude-sonnet-4-5"

models = st.sampled_from([EXACT, FOREIGN])
estimates = st.integers(0, 2_000) | st.integers(0, 2_000_000)
observations = st.lists(st.tuples(estimates, estimates), max_size=3 * WINDOW)


@given(models, observations)
def test_every_bound_covers_its_estimate_and_all_that_is_remembered(model: str, seen: list[tuple[int, int]]) -> None:
    margins = Margins()
    for estimate, actual in seen:
        margins.learn(model, estimate, actual)
        assert margins.bound(model, estimate) >= max(estimate, actual)
    for estimate, actual in seen[-WINDOW:]:
        assert margins.bound(model, estimate) >= max(estimate, actual)


@given(models, observations, estimates, estimates)
def test_a_longer_prompt_of_its_class_has_no_lower_bound(
    model: str, seen: list[tuple[int, int]], one: int, other: int
) -> None:
    margins = Margins()
    for estimate, actual in seen:
        margins.learn(model, estimate, actual)
    low, high = sorted((one, other))
    if (low < SHORT) == (high < SHORT):
        assert margins.bound(model, low) <= margins.bound(model, high)


@pytest.mark.parametrize(("model", "short", "long"), [(EXACT, 132, 10_208), (FOREIGN, 400, 16_008)])
def test_the_first_bound(model: str, short: int, long: int) -> None:
    margins = Margins()
    assert (margins.bound(model, 100), margins.bound(model, 10_000)) == (short, long)


@given(percent=st.integers(50, 156))
def test_a_steady_ratio_is_learned(percent: int) -> None:
    """From the first bound down, never up, to two percent above what is real."""
    margins, bounds = Margins(), []
    for _ in range(CONFIRMED + 1):
        bounds.append(margins.bound(FOREIGN, 10_000))
        margins.learn(FOREIGN, 10_000, 100 * percent)
    assert bounds == sorted(bounds, reverse=True)
    real = max(10_000, 100 * percent)
    assert real <= bounds[-1] <= real * (100 + SAFE_PERCENT) // 100 + 20 + SAFE_TOKENS


def test_a_surplus_learned_on_short_prompts_says_nothing_of_long_ones() -> None:
    margins = Margins()
    for _ in range(CONFIRMED):
        margins.learn(FOREIGN, 20, 370)
    assert margins.bound(FOREIGN, 20) == 370 + SAFE_TOKENS
    assert margins.bound(FOREIGN, 10_000) == Margins().bound(FOREIGN, 10_000)


def test_a_count_above_the_bound_widens_it_at_once_and_is_forgotten_in_time() -> None:
    margins = Margins()
    for _ in range(CONFIRMED):
        margins.learn(EXACT, 10_000, 10_000)
    tight = margins.bound(EXACT, 10_000)
    margins.learn(EXACT, 10_000, 30_000)
    assert margins.bound(EXACT, 10_000) > 30_000
    for _ in range(2 * WINDOW):
        margins.learn(EXACT, 10_000, 10_000)
    assert margins.bound(EXACT, 10_000) == tight


def test_models_learn_apart() -> None:
    margins = Margins()
    margins.learn("openai/gpt-4o", 10_000, 20_000)
    assert margins.bound("openai/gpt-4o-mini", 10_000) == Margins().bound("openai/gpt-4o-mini", 10_000)


@pytest.mark.parametrize(("estimate", "actual", "field"), [(-1, 5, "estimate"), (5, -1, "actual")])
def test_negative_counts_are_refused_and_not_learned(estimate: int, actual: int, field: str) -> None:
    margins = Margins()
    with pytest.raises(InvalidUsage) as refused:
        margins.learn(EXACT, estimate, actual)
    assert (refused.value.field, refused.value.value) == (field, -1)
    assert margins.bound(EXACT, 5) == Margins().bound(EXACT, 5)


def test_no_observation_is_lost_between_threads() -> None:
    margins = Margins()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: margins.learn(EXACT, 1_000, 1_000 + i), range(2 * WINDOW)))
    assert margins.bound(EXACT, 1_000) > 1_000 + 2 * WINDOW
    assert margins._of(EXACT).ratio.seen == CONFIRMED


def test_what_is_added_to_short_prompts_is_added_to_long_ones_of_which_none_was_seen() -> None:
    margins = Margins()
    for estimate in range(40, 490, 30):
        margins.learn("gpt-4o", estimate, estimate + 170)
    assert margins.bound("gpt-4o", SHORT + 20) >= SHORT + 20 + 170
