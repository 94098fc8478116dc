"""Content as attributes: JSON that is whole or said not to be, under a limit, whatever it is made of."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.traces.records.content import CUT, INPUT, LIMIT, RESULT, Written

TEXTS = st.text(st.characters(exclude_categories=()), max_size=200)
"""Any text, halves of characters too."""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=10,
)
LIMITS = st.integers(min_value=8, max_value=600)


class Odd:
    """Something that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("not now")


def listed(items: Any, limit: int = LIMIT, **settings: Any) -> tuple[list[Any], bool]:
    written = Written(limit)
    written.add_list(INPUT, items, **settings)
    text = written.attributes.get(INPUT, "[]")
    assert len(text.encode()) <= limit
    return json.loads(text), CUT in written.attributes


def valued(value: Any, limit: int = LIMIT) -> tuple[str, bool]:
    written = Written(limit)
    written.add_value(RESULT, value)
    text: str = written.attributes.get(RESULT, "")
    assert len(text.encode()) <= limit
    return text, CUT in written.attributes


@given(items=st.lists(VALUES, max_size=8), limit=LIMITS, newest_first=st.booleans())
def test_a_list_is_whole_or_said_to_be_cut(items: list[Any], limit: int, newest_first: bool) -> None:
    everything, never = listed(items, 1 << 20, newest_first=newest_first)
    found, is_cut = listed(items, limit, newest_first=newest_first)
    assert not never
    assert len(everything) == len(items)
    if not is_cut:
        assert found == everything
    if newest_first:
        found, everything = found[::-1], everything[::-1]
    assert found[:-1] == everything[: len(found[:-1])]


@given(value=VALUES, limit=LIMITS)
def test_a_value_is_whole_or_said_to_be_cut(value: Any, limit: int) -> None:
    everything, _ = valued(value, 1 << 20)
    text, is_cut = valued(value, limit)
    assert is_cut == (len(everything.encode()) > limit)
    assert is_cut or text == everything
    if text and not isinstance(value, str):
        json.loads(text)


def test_the_newest_are_kept_in_the_order_they_were_said() -> None:
    assert listed(iter([3, 2, 1]), 5, newest_first=True) == ([2, 3], True)
    assert listed([1, 2, 3], 5) == ([1, 2], True)


def test_no_more_is_asked_for_than_fits() -> None:
    endless = ({"number": number, "text": "x" * 100} for number in iter(int, 1))
    found, is_cut = listed(endless, 1_000)
    assert len(found) == 8
    assert is_cut


def test_texts_are_cut_to_what_fits() -> None:
    (found,), is_cut = listed([{"role": "user", "parts": [{"type": "text", "content": "word " * 1_000}]}], 1_000)
    assert is_cut
    text = found["parts"][0]["content"]
    assert 400 <= len(text) <= 1_000
    assert text.endswith("…")
    assert valued("é" * 600, 601) == ("é" * 299 + "…", True)


def test_a_part_of_an_image_is_none() -> None:
    image = {"type": "blob", "modality": "image", "content": "aGVs" * 1_000}
    (found,), is_cut = listed([{"parts": [image, {"type": "text", "content": "What is this?"}]}], 1_000)
    assert is_cut
    assert found["parts"][0]["content"] == ""
    assert found["parts"][1]["content"] == "What is this?"


def test_what_json_has_no_form_for_is_told_in_pythons_words() -> None:
    assert valued({"day": date(2026, 11, 27), 3: {1}, "big": 2**80, "half": "\ud800"})[1] is False
    assert listed([{"day": date(2026, 11, 27)}, 2**80, "\ud800"]) == ([{"day": "2026-11-27"}, 2**80, "?"], False)


def test_what_cannot_be_told_is_passed_over_and_the_rest_is_kept() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert listed(["before", Odd(), circle, "after"]) == (["before", "after"], True)
    assert valued(Odd()) == valued(circle) == ("", True)
    assert listed(map(int, ["1", "x", "3"])) == ([1, 3], True)
