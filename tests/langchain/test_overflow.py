"""What is decided about a history that is too long, and what is remembered of it: pure, for any history."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.integrations.langchain.governance.joint import joint_policy
from budgeted_agents.integrations.langchain.pruning.overflow import (
    LONGEST_SUMMARY,
    SHORTEST_SUMMARY,
    Known,
    Overflow,
    Wanted,
    summary_message,
)
from budgeted_agents.integrations.langchain.pruning.shortening import History, Room, shortened
from budgeted_agents.integrations.langchain.pruning.summaries import Summaries, marks_of
from budgeted_agents.integrations.langchain.pruning.summarizing import prompt_for
from budgeted_agents.testing.histories import check_history
from tests.langchain.histories import histories, wire

MODEL = "gpt-4o"
LONG = st.integers(0, 150)


def beginnings(history: list[Any]) -> list[list[Any]]:
    """The history as it grows, turn by turn."""
    whole = History.of(history)
    return [[*whole.system, *whole.between(0, end)] for end in range(1, len(whole.turns) + 1)]


@given(histories(LONG), st.integers(60, 2_000), st.lists(st.integers(0, 300), min_size=30, max_size=30))
def test_a_history_that_grows_stays_valid_and_under_the_cap(history: list[Any], limit: int, lengths: list[int]) -> None:
    """Summaries are of any length: too long, just right, or none at all."""
    room, known = Room(MODEL, limit), Known()
    for messages in beginnings(history):
        if room.holds(messages):
            continue
        overflow = Overflow(messages, room)
        found = overflow.with_results_cleared(known)
        if found is None:
            wanted = overflow.wanted(known)
            if wanted is not None:
                assert_sensible(wanted, known, overflow)
                summary = summary_message("word " * lengths.pop())
                taken = overflow.takes(wanted, summary)
                known = Known(wanted.covers, summary) if taken else Known(known.covers, known.summary, wanted.covers)
            found = overflow.with_turns_dropped(known) or room.longest(shortened(messages))
        if found is None:
            assert room.size(shortened(messages)[-1]) > limit
            continue
        assert room.holds(found)
        assert_accepted(found, messages, known)


def assert_sensible(wanted: Wanted, known: Known, overflow: Overflow) -> None:
    assert known.covers < wanted.covers < len(overflow.history.turns)
    assert wanted.dropped == overflow.history.between(known.covers, wanted.covers)
    assert SHORTEST_SUMMARY <= wanted.tokens <= LONGEST_SUMMARY


def assert_accepted(found: list[BaseMessage], messages: list[BaseMessage], known: Known) -> None:
    check_history(wire(found))
    system = [message for message in messages if isinstance(message, SystemMessage)]
    assert found[: len(system)] == system
    assert isinstance(found[len(system)], HumanMessage)
    assert (found[-1].type, found[-1].id) == (messages[-1].type, messages[-1].id)
    if known.summary in found:
        assert found.index(known.summary) == len(system)


@given(st.integers(1_000, 20_000), st.integers(20, 100))
def test_a_summary_leaves_half_of_the_room_for_what_comes(limit: int, words: int) -> None:
    room = Room(MODEL, limit)
    messages: list[BaseMessage] = [SystemMessage("Be brief." * 20)]
    while room.holds(messages):
        messages += [HumanMessage("ask " * words), AIMessage("say " * words)]
    overflow = Overflow(messages, room)
    wanted = overflow.wanted(Known())
    assert wanted is not None
    rest = [*overflow.history.since(wanted.covers), summary_message("word " * wanted.tokens)]
    free = limit - room.size(messages[:1])
    assert free // 2 - 30 <= limit - room.size(rest) <= free // 2 + 3 * words + 30


def test_a_summary_tried_in_vain_is_not_tried_again_before_the_rest_has_outgrown_the_room() -> None:
    room, known, tries = Room(MODEL, 2_000), Known(), []
    messages: list[BaseMessage] = []
    for step in range(200):
        messages += [HumanMessage("ask " * 20), AIMessage("say " * 20)]
        if room.holds(messages):
            continue
        wanted = Overflow(messages, room).wanted(known)
        if wanted is not None:
            known = Known(tried=wanted.covers)
            tries.append(step)
    assert len(tries) > 2
    assert min(later - earlier for earlier, later in pairwise(tries)) > 10


def test_where_a_summary_could_say_nothing_none_is_wanted() -> None:
    messages: list[BaseMessage] = [SystemMessage("rule " * 900), *[HumanMessage("word " * 30) for _ in range(9)]]
    assert Overflow(messages, Room(MODEL, 1_000)).wanted(Known()) is None
    assert Overflow(messages[:2], Room(MODEL, 100)).wanted(Known()) is None
    last = [HumanMessage("word " * 300), HumanMessage("word " * 980)]
    assert Overflow([*last], Room(MODEL, 1_000)).wanted(Known()) is None  # the latest turn leaves no room for it


# -- the prompt -----------------------------------------------------------------------------------------------------


@given(histories(LONG), st.integers(0, 1_500), st.booleans())
def test_the_question_for_a_summary_stays_under_the_cap(history: list[Any], limit: int, goes_on: bool) -> None:
    room, earlier = Room(MODEL, limit), summary_message("They greeted.") if goes_on else None
    prompt = prompt_for(earlier, history, room, 100)
    if prompt is None:
        assert limit < 250
        return
    assert room.holds(prompt)
    assert (earlier is None) or "They greeted." in prompt[0].text
    assert len(prompt) == 1


def test_long_results_are_cut_before_anything_is_left_out() -> None:
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "c"}])
    history = [HumanMessage("Which tree?"), call, ToolMessage("oak " * 5_000, tool_call_id="c"), AIMessage("An oak.")]
    prompt = prompt_for(None, history, Room(MODEL, 600), 100)
    assert prompt is not None
    assert all(text in prompt[0].text for text in ("Which tree?", "oak oak oak", "An oak."))
    assert Room(MODEL, 600).size(prompt) > 300


# -- what is remembered ---------------------------------------------------------------------------------------------


@given(histories(LONG))
def test_a_history_that_was_stored_and_loaded_is_known_again(history: list[Any]) -> None:
    serde = JsonPlusSerializer()
    loaded = serde.loads_typed(serde.dumps_typed(history))
    turns, marks = History.of(loaded).turns, marks_of(History.of(history).turns)
    assert marks_of(turns) == marks
    assert marks_of(turns[:-1]) == marks[:-1]
    turns[0][0].content = "otherwise"
    assert not set(marks_of(turns)) & set(marks)


def test_a_message_is_known_by_all_that_a_model_is_told_of_it() -> None:
    messages = [
        HumanMessage("a"),
        HumanMessage("a", name="Ada"),
        AIMessage("a"),
        AIMessage("a", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}]),
        AIMessage("a", tool_calls=[{"name": "f", "args": {"x": 2}, "id": "c"}]),
        ToolMessage("a", tool_call_id="c"),
        ToolMessage("a", tool_call_id="d"),
        HumanMessage("half \ud800"),
        HumanMessage([{"type": "text", "text": "a"}]),
    ]
    assert len({marks_of([[message]])[0] for message in messages}) == len(messages)
    assert marks_of([[HumanMessage("a", id="1")]]) == marks_of([[HumanMessage("a", id="2")]])


def test_the_summary_that_covers_most_is_found_and_what_was_tried_since() -> None:
    known, first, second = Summaries(), summary_message("first"), summary_message("second")
    marks = [1, 2, 3, 4]
    assert known.find("s", marks) == Known()
    known.keep("s", 1, first)
    known.keep("s", 3, None)
    assert known.find("s", marks) == Known(1, first, 3)
    assert known.find("s", marks[:2]) == Known(1, first, 1)
    known.keep("s", 3, second)
    known.keep("s", 3, None)  # another call, which came later, did not get one
    assert known.find("s", marks) == Known(3, second, 3)
    assert known.find("other", marks) == Known()


def test_the_summaries_used_last_are_kept() -> None:
    known = Summaries(most=2)
    for session in ("a", "b"):
        known.keep(session, 1, summary_message(session))
    assert known.find("a", [1]).covers == 1
    known.keep("c", 1, summary_message("c"))
    assert [known.find(session, [1]).covers for session in ("a", "b", "c")] == [1, 0, 1]


# -- budgets of one name --------------------------------------------------------------------------------------------

TRIMS, SUMS_UP = Budget(context_tokens=900), Budget(context_tokens=800, context_overflow="summarize")


@pytest.mark.parametrize(
    ("one", "other", "context"),
    [
        (TRIMS, SUMS_UP, (800, "summarize")),
        (SUMS_UP, TRIMS, (800, "summarize")),
        (SUMS_UP, Budget(context_tokens=700), (700, "trim")),
        (Budget(context_tokens=800), SUMS_UP, (800, "summarize")),
        (Budget(usd=1), SUMS_UP, (800, "summarize")),
        (SUMS_UP, Budget(usd=1), (800, "summarize")),
        (Budget(usd=1), Budget(usd=2), (None, "trim")),
    ],
)
def test_of_two_budgets_on_one_account_the_tighter_cap_decides(one: Budget, other: Budget, context: Any) -> None:
    (budget,) = joint_policy(Policy((one,)), Policy((other,))).budgets
    assert (budget.context_tokens, budget.context_overflow) == context
