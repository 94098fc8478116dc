"""How much a model thinks, learned from what its calls used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.estimate import Thinking

MODEL, NODE = "gpt-5", "plan"


def test_a_model_that_was_never_seen_to_think_needs_no_room_for_it() -> None:
    assert Thinking().usual(MODEL, NODE) == 0


def test_the_first_call_is_believed_and_later_ones_move_it() -> None:
    thinking = Thinking()
    thinking.learn(MODEL, NODE, 2_000)
    assert thinking.usual(MODEL, NODE) == 2_000
    thinking.learn(MODEL, NODE, 1_200)
    assert thinking.usual(MODEL, NODE) == 1_900
    assert thinking.usual("o3", NODE) == 0
    assert thinking.usual(MODEL, "route") == 0


def test_for_a_question_that_was_not_asked_before_the_most_counts() -> None:
    thinking = Thinking()
    thinking.learn(MODEL, NODE, 2_000)
    thinking.learn(MODEL, "route", 100)
    thinking.learn("o3", NODE, 9_000)
    assert thinking.most(MODEL) == 2_000
    assert thinking.most("gpt-4o") == 0


def test_thinking_that_was_cut_off_does_not_lower_what_is_usual() -> None:
    thinking = Thinking()
    thinking.learn(MODEL, NODE, 2_000)
    thinking.learn(MODEL, NODE, 100, is_cut=True)
    assert thinking.usual(MODEL, NODE) == 2_000
    thinking.learn(MODEL, NODE, 4_000, is_cut=True)
    assert thinking.usual(MODEL, NODE) == 2_250


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=200))
def test_what_is_usual_stays_within_what_was_seen_and_gets_to_what_is_seen_now(seen: list[int]) -> None:
    thinking = Thinking()
    for tokens in seen:
        thinking.learn(MODEL, NODE, tokens)
        assert min(seen) <= thinking.usual(MODEL, NODE) <= max(seen)
    for _ in range(200):
        thinking.learn(MODEL, NODE, 500)
    assert 500 <= thinking.usual(MODEL, NODE) < 508
