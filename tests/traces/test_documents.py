"""JSON as traces have it, and what the first bytes of a file tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.documents import outline, parse, records
from tests.traces.formats.support import written


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"reward": NaN, "cost": -Infinity}', {"reward": None, "cost": None}),
        (rb'{"text": "\ud83d"}', {"text": "?"}),
        (b'{"text": "\xff"}', {"text": "�"}),
        (b'{"tokens": 123456789012345678901234567890}', {"tokens": 1.2345678901234568e29}),
    ],
)
def test_reads_what_python_writes_but_json_does_not_allow(data: bytes, value: object) -> None:
    assert parse(data, "trace.json") == value


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}}', b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}"])
def test_refuses_what_is_no_json_without_showing_it(data: bytes) -> None:
    with pytest.raises(InvalidTrace, match=r"trace\.json: content='\d+ bytes'"):
        parse(data, "trace.json")


def test_lines_are_read_past_those_that_are_broken(tmp_path: Path) -> None:
    source = written(tmp_path, "runs.jsonl", b'{"id": 1}\n{"id": 2\n[3]\n{"id": 4}\n')
    assert list(records(source)) == [(1, {"id": 1}), (4, {"id": 4})]
    assert [problem.place for problem in source.problems.kept] == [f"{source.path}:2", f"{source.path}:3"]
    assert source.problems.skipped == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_and_an_indented_object_are_documents(tmp_path: Path, indent: int | None) -> None:
    array = written(tmp_path, "array.json", json.dumps([{"id": 1}, {"id": 2}], indent=indent).encode())
    assert list(records(array)) == [(0, {"id": 1}), (0, {"id": 2})]
    single = written(tmp_path, "single.json", json.dumps({"id": 1}, indent=indent).encode())
    assert [record for _, record in records(single)] == [{"id": 1}]


def test_the_outline_shows_keys_three_levels_deep_and_sees_through_lists() -> None:
    value = {"a": [{"b": {"c": {"d": 1}}}, {"e": "}{"}], "f": [[{"g": None}]], 'h"': "\\"}
    assert outline(json.dumps(value).encode()) == {"a", "a.b", "a.b.c", "a.e", "f", "f.g", 'h\\"'}


def test_the_outline_is_not_fooled_by_texts_or_later_values() -> None:
    text = json.dumps({"prompt": json.dumps({"trace": {"projectId": 1}})})
    assert outline((text + "\n" + json.dumps({"later": 1})).encode()) == {"prompt"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(_JSON, st.integers(0, 200))
def test_the_outline_of_any_head_is_part_of_the_whole(value: object, cut: int) -> None:
    whole = json.dumps(value).encode()
    assert outline(whole[:cut]) <= outline(whole)


@given(st.dictionaries(st.text("abcde", min_size=1), _JSON))
def test_the_outline_has_every_first_key(value: dict[str, object]) -> None:
    assert {path for path in outline(json.dumps(value).encode()) if "." not in path} >= value.keys()


def test_an_array_among_lines_costs_itself(tmp_path: Path) -> None:
    source = written(tmp_path, "a.jsonl", [[], {"a": 1}])
    assert list(records(source)) == [(2, {"a": 1})]
    assert source.problems.skipped == 1
