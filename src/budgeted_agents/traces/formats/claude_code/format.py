"""Transcripts and result events, line by line: their calls, then statements about their sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from itertools import islice

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.formats.claude_code.entries import ENTRIES, ENTRY, Entry, is_entry
from budgeted_agents.traces.formats.claude_code.messages import Messages
from budgeted_agents.traces.formats.claude_code.results import Results
from budgeted_agents.traces.formats.claude_code.turns import Turns
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import decoded_lines

_LINES_LOOKED_AT = 50
_LONG_FIRST_LINE = re.compile(rb'\s*\{\s*"(parentUuid|leafUuid|isSidechain)"')
"""How a transcript begins, should its first line be longer than what detection is shown."""


class ClaudeCode:
    """Transcripts and result events of Claude Code."""

    name = "claude_code"
    about = "Claude Code transcripts, and the output of claude -p as json or stream-json"

    def detect(self, source: Source) -> bool:
        """Whether one of the first lines is a transcript's or a stream's."""
        head = source.head
        return bool(_LONG_FIRST_LINE.match(head)) or any(map(is_entry, islice(BytesIO(head), _LINES_LOOKED_AT)))

    def read(self, source: Source) -> Iterator[TracedCall]:
        """Its calls, then statements about its sessions: what users asked for, and what result events say."""
        messages, turns, results = Messages(source), Turns(), Results(source)
        for number, entry in _entries_of_list(source) if _is_list(source) else decoded_lines(ENTRY, source):
            kind = entry.type
            if kind == "assistant":
                yield from messages.add(entry, number)
            elif kind == "user":
                turns.add(entry)
            elif kind == "result":
                results.add(entry, number)
        yield from messages.rest()
        yield from turns.statements()
        yield from results.statements()


def _is_list(source: Source) -> bool:
    """Whether it is what ``--verbose --output-format json`` prints: one line, a list of what else are lines."""
    return source.head.startswith(b"[")


def _entries_of_list(source: Source) -> Iterator[tuple[int, Entry]]:
    for number, found in decoded_lines(ENTRIES, source):
        yield from ((number, entry) for entry in (found if isinstance(found, list) else [found]))


FORMAT = ClaudeCode()
