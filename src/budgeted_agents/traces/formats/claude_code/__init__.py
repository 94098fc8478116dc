"""Claude Code: transcripts (``~/.claude/projects``), and what ``claude -p`` prints as JSON or as a stream of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.formats.claude_code.entries import ENTRY, REQUEST, is_entry
from budgeted_agents.traces.formats.claude_code.messages import Messages
from budgeted_agents.traces.formats.claude_code.results import Results
from budgeted_agents.traces.formats.claude_code.turns import Turns
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import decoded

_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_MATTERS = re.compile(rb'"(?:input_tokens|user)"')
"""What stands in every line that may be a call, a result or a request; quotes inside of texts are escaped. Most lines
are others, and decoding them would take longer than all the rest."""

_LINES_LOOKED_AT = 50
_LONG_FIRST_LINE = re.compile(rb'\s*\{\s*"(parentUuid|leafUuid|isSidechain)"')
"""How a transcript begins, should its first line be longer than what detection is shown."""


class ClaudeCode:
    """Transcripts and result events of Claude Code."""

    name = "claude_code"
    about = "Claude Code transcripts, and the output of claude -p as json or stream-json"

    def detect(self, source: Source) -> bool:
        """Whether one of the first lines is a transcript's or a stream's."""
        lines = source.head.splitlines()[:_LINES_LOOKED_AT]
        return bool(_LONG_FIRST_LINE.match(source.head)) or any(map(is_entry, lines))

    def read(self, source: Source) -> Iterator[TracedCall]:
        """Its calls, then statements about its sessions: what users asked for, and what result events say."""
        messages, turns, results, problems = Messages(source), Turns(), Results(source), source.problems
        for number, line in _entries(source):
            if b'"input_tokens"' in line:
                entry = decoded(ENTRY, line, problems, number)
                if entry is None:
                    continue
                if entry.type == "assistant":
                    if (call := messages.add(entry, number)) is not None:
                        yield call
                elif entry.type == "result":
                    results.add(line, number)
            elif b'"tool_result"' not in line:
                request = decoded(REQUEST, line, problems, number)
                if request is not None:
                    turns.add(request)
        yield from messages.rest()
        yield from turns.statements()
        yield from results.statements()


def _entries(source: Source) -> Iterator[tuple[int, bytes]]:
    """The lines that matter; but ``--verbose --output-format json`` prints one line, a list of what else are lines."""
    for number, line in source.lines(_MATTERS):
        if line.startswith(b"["):
            yield from ((number, bytes(entry)) for entry in decoded(_LIST, line, source.problems, number) or ())
        else:
            yield number, line


FORMAT = ClaudeCode()
