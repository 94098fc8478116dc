"""Lines taken many at once are the same lines, with the same numbers, as lines taken one by one."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.files.limits import MAX_LINE
from budgeted_agents.traces.files.lines import split_lines, whole_lines
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.values import decoded_lines

PIECES = st.sampled_from([b"\n", b"\n\n", b'{"a": 1}', b"{", b"xyz", b" ", b"\r\n", b"\xff"])
ANYTHING = msgspec.json.Decoder(dict[str, int])


@given(st.lists(st.lists(PIECES, max_size=5).map(b"".join), max_size=8))
def test_nothing_is_lost_between_blocks(blocks: list[bytes]) -> None:
    one_by_one, at_once = Problems("a"), Problems("a")
    chunks = list(whole_lines(blocks, at_once))
    assert b"".join(lines for *_, lines in chunks) == b"".join(blocks)
    assert all(last - first + 1 == len(lines.splitlines()) for first, last, lines in chunks if b"\r" not in lines)
    found = [each for first, _, lines in chunks for each in split_lines([lines], at_once, first - 1)]
    assert found == list(split_lines(blocks, one_by_one))
    assert at_once == one_by_one


def test_a_line_that_is_too_long_is_passed_over() -> None:
    problems = Problems("a")
    long = [b"x" * (MAX_LINE // 2)] * 3
    found = list(whole_lines([b"1\n", *long, b"x\n3\n4", b"4\n", *long], problems))
    assert found == [(1, 1, b"1\n"), (3, 3, b"3\n"), (4, 4, b"44\n")]
    assert [problem.place for problem in problems.kept] == ["a:2", "a:5"]


def test_a_damaged_line_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = [json.dumps({"a": number}).encode() for number in range(3)]
    path.write_bytes(b"\n".join([good[0], b"", b'{"a": "cut', b"[" * 100_000, good[1], b'{"a": 7} {"a": 8}', good[2]]))
    source = FileSource(path)
    assert list(decoded_lines(ANYTHING, source)) == [(1, {"a": 0}), (5, {"a": 1}), (7, {"a": 2})]
    assert [problem.place for problem in source.problems.kept] == [f"{path}:{line}" for line in (3, 4, 6)]


def test_lines_after_blank_ones_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n\n{"a": 1}\r\n{"a": 2}')
    assert [number for number, _ in decoded_lines(ANYTHING, FileSource(path))] == [3, 4]
