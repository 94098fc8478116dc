import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.estimate import HistoryCounter, Parts, PromptSize, count_text, tokenizer_for
from budgeted_agents.estimate.history import (
    MOST_HISTORIES,
    MOST_MESSAGES,
    PER_CALL,
    PER_MESSAGE,
    PER_TOOL,
    TOOL_INSTRUCTIONS,
)
from budgeted_agents.estimate.texts import MOST_TEXTS, TextCounter


@dataclass
class Said:
    """A message of no framework."""

    content: str
    images: int = 0


def said_parts(message: Said) -> Parts:
    return Parts((message.content,), message.images)


class Recorder:
    """A counter that remembers which messages it was made to look into."""

    def __init__(self) -> None:
        self.looked_into: list[str] = []
        self.counter = HistoryCounter(tokenizer_for("gpt-4o"), self._parts_of)

    def _parts_of(self, message: Said) -> Parts:
        self.looked_into.append(message.content)
        return said_parts(message)

    def count(self, messages: Sequence[Said]) -> PromptSize:
        self.looked_into.clear()
        return self.counter.count(messages)


def expected(messages: Sequence[Said]) -> PromptSize:
    tokens = sum(PER_MESSAGE + count_text(message.content) for message in messages)
    return PromptSize(PER_CALL + tokens, sum(message.images for message in messages))


def conversation(length: int) -> list[Said]:
    return [Said(f"message {number}") for number in range(length)]


@st.composite
def edited_histories(draw: st.DrawFn) -> list[list[Said]]:
    """Histories as agents make them: grown, pruned, reordered, copied, branched, with contents replaced in place."""
    pool = [Said(text, images) for text, images in draw(st.lists(st.tuples(st.text(max_size=8), st.integers(0, 2))))]
    return [draw(st.lists(st.sampled_from(pool), max_size=12)) if pool else [] for _ in range(draw(st.integers(1, 12)))]


@given(edited_histories(), st.randoms(use_true_random=False))
def test_a_history_counts_the_same_however_it_came_about(histories: list[list[Said]], dice: random.Random) -> None:
    recorder = Recorder()
    for history in histories:
        for size in sorted({0, len(history) // 2, len(history)}):
            assert recorder.count(history[:size]) == expected(history[:size])
        if history and dice.random() < 0.5:
            dice.choice(history).content = f"replaced {dice.random()}"
            assert recorder.count(history) == expected(history)
        reloaded = [replace(message) for message in history]
        assert recorder.count(reloaded) == expected(reloaded)


def test_an_equal_message_in_a_history_that_changes_later_is_counted_anew() -> None:
    recorder, (first, second, third) = Recorder(), conversation(3)
    recorder.count([first, second])
    twin = replace(first)
    recorder.count([twin, second, third])
    twin.content = "something much longer than it was before"
    assert recorder.count([twin, second, third]) == expected([twin, second, third])


def test_only_what_is_new_is_looked_into() -> None:
    recorder, messages = Recorder(), conversation(12)
    recorder.count(messages[:10])
    assert len(recorder.looked_into) == 10
    recorder.count(messages[:11])
    assert recorder.looked_into == ["message 10"]
    recorder.count(tuple(messages[:11]))
    assert recorder.looked_into == []


def test_branches_do_not_displace_one_another() -> None:
    recorder, trunk = Recorder(), conversation(20)
    branches = [[*trunk, Said(f"branch {number}")] for number in range(MOST_HISTORIES)]
    recorder.count(trunk)
    for branch in branches:
        recorder.count(branch)
        assert recorder.looked_into == [branch[-1].content]
    for branch in branches:
        recorder.count([*branch, Said("next")])
        assert recorder.looked_into == ["next"]


def test_a_pruned_or_reordered_history_is_not_looked_into_again() -> None:
    recorder, messages = Recorder(), conversation(10)
    recorder.count(messages)
    for edited in (messages[3:], messages[:1] + messages[5:], messages[::-1]):
        assert recorder.count(edited) == expected(edited)
        assert recorder.looked_into == []


def test_a_content_replaced_in_place_is_counted_anew() -> None:
    recorder, messages = Recorder(), conversation(3)
    before = recorder.count(messages)
    messages[1].content = "something much longer than what stood there before"
    assert recorder.count(messages) == expected(messages) != before
    assert recorder.looked_into == [messages[1].content]


def test_an_equal_message_in_the_middle_is_watched_too() -> None:
    recorder, messages = Recorder(), conversation(3)
    recorder.count(messages)
    twin = [messages[0], replace(messages[1]), messages[2]]
    assert recorder.count([*twin, Said("next")]) == expected([*twin, Said("next")])
    twin[1].content = "something much longer than what stood there before"
    assert recorder.count(twin) == expected(twin)


def test_messages_that_are_dicts() -> None:
    def itself(message: dict[str, str]) -> dict[str, str]:
        return message

    counter = HistoryCounter(tokenizer_for("gpt-4o"), lambda message: Parts((message["content"],)), fields_of=itself)
    messages = [{"role": "user", "content": "one"}]
    assert counter.count(messages).tokens == PER_CALL + PER_MESSAGE + 1
    messages[0]["content"] = "one two three"
    assert counter.count(messages).tokens == PER_CALL + PER_MESSAGE + 3


def test_tools_are_counted_with_their_schemas() -> None:
    counter = Recorder().counter
    said = [Said("hi")]
    bare = counter.count(said).tokens
    tool = {"name": "search", "parameters": {"query": {"type": "string"}}}
    text = '{"name": "search", "parameters": {"query": {"type": "string"}}}'
    assert counter.count(said, [tool]).tokens == bare + PER_TOOL + count_text(text)
    assert counter.count(said, (text, tool)).tokens == bare + 2 * (PER_TOOL + count_text(text))
    assert counter.count(said).tokens == bare


def test_tools_of_a_foreign_model_bring_instructions() -> None:
    counter = HistoryCounter(tokenizer_for("claude"), said_parts)
    bare = counter.count([Said("hi")]).tokens
    assert counter.count([Said("hi")], ["{}"]).tokens == bare + TOOL_INSTRUCTIONS + PER_TOOL + 1


def test_what_is_remembered_is_bounded() -> None:
    recorder = Recorder()
    for number in range(MOST_HISTORIES + 10):
        recorder.count([Said(f"{number} {place}") for place in range(MOST_MESSAGES // MOST_HISTORIES)])
    assert len(recorder.counter._histories) == MOST_HISTORIES
    assert len(recorder.counter._known) == MOST_MESSAGES


def test_many_sessions_at_once_each_pay_for_what_is_new() -> None:
    recorder, sessions = Recorder(), [conversation(5) for _ in range(MOST_HISTORIES)]
    for step in range(3):
        for session in sessions:
            session.append(Said(f"step {step}"))
            recorder.count(session)
            assert step == 0 or recorder.looked_into == [f"step {step}"]


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 10_100), ("azure/gpt-4o-mini", 96_500), ("claude", 10_100)])
def test_images_are_estimated_at_their_most(model: str, tokens: int) -> None:
    assert PromptSize(100, images=2).estimate(model) == tokens


def test_threads_share_a_counter() -> None:
    recorder, trunk = Recorder(), conversation(30)

    def work(number: int) -> bool:
        mine = list(trunk)
        for step in range(20):
            mine.append(Said(f"thread {number} step {step}"))
            if recorder.counter.count(mine) != expected(mine):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_counts_of_texts_are_bounded_and_right() -> None:
    texts = TextCounter(tokenizer_for("gpt-4o"))
    for number in range(MOST_TEXTS + 100):
        texts.count(f"{number}")
    assert len(texts._counts) == MOST_TEXTS
    assert texts.count("one two three") == texts.count("one two three") == 3
