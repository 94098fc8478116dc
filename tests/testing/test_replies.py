"""Reply policies and the counting of their tokens, without a server."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents import testing
from budgeted_agents.errors import InvalidInput
from budgeted_agents.testing import Reply, Request, ToolCall, extractive, fill, research_replies, scripted
from budgeted_agents.testing.answers import answer_to, count_tokens, pieces
from budgeted_agents.testing.conversation import Message
from budgeted_agents.testing.gate import Gate

HELLO = Request("/v1/chat/completions", "gpt-4o", (Message("user", "Hello"),), number=1)


def limited(tokens: int) -> Request:
    return Request("/", "gpt-4o", (Message("user", "Hello"),), max_output_tokens=tokens)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("äöü", 2), ("日本", 2)])
def test_four_bytes_are_a_token(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@given(st.text(max_size=300), st.integers(min_value=1, max_value=80))
def test_an_answer_is_never_longer_than_the_limit(text: str, limit: int) -> None:
    answer = answer_to(limited(limit), Reply(text), count_tokens)
    assert answer.usage.output_tokens == min(limit, count_tokens(text))
    assert count_tokens(answer.text) <= limit
    assert text.startswith(answer.text)
    assert (answer.finish == "length") == (answer.text != text)


@given(st.text(max_size=2_000))
def test_the_pieces_of_a_stream_make_up_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) <= 33


def test_tool_calls_beyond_the_limit_are_lost() -> None:
    reply = Reply("Let me see.", [ToolCall("search", {"query": "x" * 100})])
    assert answer_to(limited(5), reply, count_tokens).tool_calls == ()
    assert answer_to(limited(50), reply, count_tokens).finish == "tool_calls"


def test_reasoning_counts_against_the_limit_and_leaves_less_for_text() -> None:
    answer = answer_to(limited(10), Reply("word " * 20, reasoning_tokens=8), count_tokens)
    assert (answer.usage.output_tokens, answer.usage.reasoning_tokens) == (10, 8)
    assert count_tokens(answer.text) == 2


def test_tools_offered_count_as_input() -> None:
    bare = answer_to(HELLO, Reply("x"), count_tokens).usage.input_tokens
    tools = ({"name": "search", "description": "Searches." * 10},)
    request = Request("/", "gpt-4o", HELLO.messages, tools=tools)
    assert answer_to(request, Reply("x"), count_tokens).usage.input_tokens > bare + 20


def test_a_script_is_used_once_and_says_so() -> None:
    policy = scripted([Reply("one"), Reply("two")])
    assert [policy(HELLO).text, policy(HELLO).text] == ["one", "two"]
    with pytest.raises(InvalidInput, match="no more replies") as end:
        policy(HELLO)
    assert end.value.value == 2


@pytest.mark.parametrize(("limit", "tokens"), [(None, 100), (7, 7), (1_000, 100)])
def test_fill_takes_what_the_limit_allows(limit: int | None, tokens: int) -> None:
    request = Request("/", "gpt-4o", (), max_output_tokens=limit)
    usage = answer_to(request, fill(100)(request), count_tokens).usage
    assert usage.output_tokens == tokens


def test_extractive_quotes_the_documents() -> None:
    documents = "Parcels leave at noon. Goods may be\nreturned within 30 days. We sell shoes."
    request = Request(
        "/",
        "gpt-4o",
        (
            Message("user", "When may goods be returned?"),
            Message("assistant", tool_calls=(ToolCall("read", id="a"),)),
            Message("tool", documents, tool_call_id="a"),
        ),
    )
    assert extractive(1)(request).text == "Goods may be returned within 30 days."
    assert extractive()(HELLO).text == "The documents do not say."


def test_research_replies_follow_the_conversation() -> None:
    policy = research_replies(reads=1)
    tools = ({"name": "search_docs"}, {"name": "read_doc"})
    asked = (Message("user", "Where do parcels go at noon?"),)
    plan = policy(Request("/", "m", (Message("system", "Write search queries."), *asked)))
    assert plan.text.splitlines() == ["parcels go noon", "parcels go", "noon"]

    searching = policy(Request("/", "m", asked, tools=tools)).tool_calls
    assert [call.name for call in searching] == ["search_docs"] * 3

    found = (*asked, Message("assistant", tool_calls=tuple(searching)), Message("tool", "1. ship.md:30\nParcels go."))
    reading = policy(Request("/", "m", found, tools=tools)).tool_calls
    assert [(call.name, call.arguments) for call in reading] == [("read_doc", {"file": "ship.md", "start_line": 20})]

    done = (*found, Message("assistant", tool_calls=tuple(reading)), Message("tool", "ship.md:20\nAt noon parcels go."))
    assert policy(Request("/", "m", done, tools=tools)).tool_calls == ()
    assert "At noon parcels go. [ship.md]" in policy(Request("/", "m", done)).text


@pytest.mark.parametrize("wish", ["Sum up now.", "The budget is spent: answer from what stands above."])
def test_research_replies_answer_the_question_whoever_speaks_last(wish: str) -> None:
    found = Message("tool", "1. ship.md:3\n# Ships\nBoats are small. Parcels go\nby sea at noon.", tool_call_id="a")
    called = Message("assistant", tool_calls=(ToolCall("search", id="a"),))
    request = Request("/", "m", (Message("user", "When do parcels go?"), called, found, Message("user", wish)))
    assert research_replies(sentences=1)(request).text == "Parcels go by sea at noon. [ship.md]"


def test_research_replies_without_documents_say_so() -> None:
    assert research_replies()(HELLO).text == "The documents do not say."


def test_a_gate_nobody_reaches_times_out() -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        Gate().wait_for(1, timeout=0.01)


def test_every_public_name_is_what_it_says() -> None:
    for name in testing.__all__:
        assert getattr(testing, name) is getattr(importlib.import_module(f"budgeted_agents.testing.{home(name)}"), name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = testing.nonsense  # type: ignore[attr-defined]


def home(name: str) -> str:
    return testing._HOMES[name]


def test_the_package_is_light() -> None:
    room = "budgeted_agents.testing"
    code = f"import sys, {room}; print([name for name in sys.modules if name.startswith('{room}.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
