"""What is remembered of the spans before changes nothing about a span."""

from __future__ import annotations

import pickle
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.traces.audit.tallies import Judged, Loops, SessionTally
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.otlp import FORMAT
from budgeted_agents.traces.formats.otlp.conversations import Conversations
from budgeted_agents.traces.formats.otlp.layouts import Layout
from budgeted_agents.traces.formats.otlp.shapes import NOTHING, Attribute, Span, Value
from budgeted_agents.traces.formats.otlp.spans import SpanMapper
from budgeted_agents.traces.problems import Problems
from budgeted_agents.usage import MAX_TOKENS, Usage
from tests.traces.formats.otlp_lines import chat, line, write

KEYS = st.sampled_from(
    [
        "gen_ai.operation.name",
        "openinference.span.kind",
        "llm.request.type",
        "gen_ai.system",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "llm.model_name",
        "gen_ai.conversation.id",
        "session.id",
        "user.id",
        "tenant.id",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cost",
        "gen_ai.tool.name",
        "budget.reservation.id",
        "error.type",
        "server.port",
        "",
    ]
)
VALUES = st.sampled_from(
    [
        Value("chat"),
        Value("LLM"),
        Value("a"),
        Value("b"),
        Value(""),
        Value(int_value=7),
        Value(double_value=0.5),
        Value(),
    ]
)
ATTRIBUTES = st.lists(st.builds(Attribute, KEYS, VALUES), max_size=6)


def mapped(mapper: SpanMapper, attributes: list[Attribute]) -> TracedCall | None:
    return mapper.call_of(Span("t", "s", "p", "name", 1, 2, list(attributes)), "scope", NOTHING, 1)


@given(st.lists(ATTRIBUTES, max_size=6))
def test_spans_are_read_one_after_another_as_each_alone(spans: list[list[Attribute]]) -> None:
    together = SpanMapper(Problems("a"), Conversations())
    for attributes in [*spans, *reversed(spans)]:
        assert mapped(together, attributes) == mapped(SpanMapper(Problems("a"), Conversations()), attributes)


COUNT = st.integers(-1, 9) | st.just(MAX_TOKENS + 1) | st.none()


@given(COUNT, COUNT, COUNT, st.booleans())
def test_counts_that_most_spans_have_are_read_as_any_others(
    prompt: int | None, completion: int | None, cached: int | None, is_text: bool
) -> None:
    names = {"prompt": "input_tokens", "completion": "output_tokens", "cache_read": "cache_read.input_tokens"}
    counts = {"prompt": prompt, "completion": completion, "cache_read": cached}
    known = {meaning: count for meaning, count in counts.items() if count is not None}
    attributes = [Attribute("gen_ai.operation.name", Value("chat"))]
    for meaning, count in known.items():
        value = Value(str(count)) if is_text else Value(int_value=count)
        attributes.append(Attribute(f"gen_ai.usage.{names[meaning]}", value))
    call = mapped(SpanMapper(Problems("a"), Conversations()), attributes)
    if any(not 0 <= count <= MAX_TOKENS for count in known.values()):
        assert call is None
    else:
        assert call is not None
        assert call.usage == Usage.from_totals(known)


@given(st.lists(KEYS, max_size=8))
def test_of_names_that_mean_the_same_the_first_of_the_best_is_believed(keys: list[str]) -> None:
    synonyms = ["gen_ai.response.model", "llm.model_name"]
    best = next((name for name in synonyms if name in keys), None)
    assert Layout.of(keys).positions.get("model") == (None if best is None else keys.index(best))


def test_users_that_are_numbers_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(*(chat(f"{user}", user__id=user) for user in (5, 6, 7))))
    assert [call.attribution["user"] for call in FORMAT.read(FileSource(path))] == ["5", "6", "7"]


def test_a_span_with_very_many_attributes_is_read_like_any(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(chat("1", **{f"more{n}": n for n in range(300)}), chat("2")))
    first, second = FORMAT.read(FileSource(path))
    assert first.usage == second.usage


def test_lines_that_cannot_be_taken_at_once_keep_their_numbers(tmp_path: Path) -> None:
    latin = line(chat("3", unread="caf?")).replace(b"?", b"\xe9")
    path = write(tmp_path / "a.jsonl", line(chat("1")), b"{\n", latin, b"\n", line(chat("5", "x")))
    source = FileSource(path)
    assert [call.line for call in FORMAT.read(source)] == [1, 3, 5]
    assert [problem.line for problem in source.problems.kept] == [2, 3]


def test_tallies_come_out_of_a_pickle_as_they_were() -> None:
    session = SessionTally(calls=3, models=frozenset({"m"}), loops=Loops({1: None}, repeats=2), succeeded=False)
    for tally in (session, Judged(verdicts={"exact": 2}), Loops(seen={2: 3})):
        assert pickle.loads(pickle.dumps(tally, pickle.HIGHEST_PROTOCOL)) == tally
