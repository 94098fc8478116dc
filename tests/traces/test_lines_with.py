"""Looking only for lines that matter finds the same lines, with the same numbers, as looking at each."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.traces.files.limits import MAX_LINE
from budgeted_agents.traces.files.lines import lines_with, split_lines
from budgeted_agents.traces.problems import Problems

PATTERN = re.compile(b'"(?:ab|c)"')
PIECES = st.sampled_from([b"\n", b"\n\n", b'"ab"', b'"c"', b'"', b"a", b"xyz", b'{"ab": "c"}\r'])


@given(st.lists(st.lists(PIECES, max_size=5).map(b"".join), max_size=8))
def test_it_finds_what_looking_at_each_line_finds(blocks: list[bytes]) -> None:
    every = split_lines(blocks, Problems("a"))
    assert list(lines_with(PATTERN, blocks, Problems("a"))) == [
        (number, line) for number, line in every if PATTERN.search(line)
    ]


def test_a_line_that_is_too_long_is_passed_over() -> None:
    problems = Problems("a")
    long = [b'"ab"' + b"x" * (MAX_LINE // 2)] * 3
    found = lines_with(PATTERN, [b'"c"\n', *long, b'\n"c"\n', *long], problems)
    assert list(found) == [(1, b'"c"'), (3, b'"c"')]
    assert [problem.place for problem in problems.kept] == ["a:2", "a:4"]
