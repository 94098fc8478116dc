"""How often users asked for something, told from what else stands in a transcript as said by the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.formats.claude_code.entries import Part, Request

_NOT_ASKED = ("<local-command-", "<bash-std", "<task-notification", "<system-reminder", "[Request interrupted")
"""How Claude Code's own messages begin."""


class Turns:
    """The requests of each session of a file."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def add(self, line: Request) -> None:
        """Take a line that may be a request."""
        is_told = line.is_meta or line.is_summary or line.is_sidechain or line.parent_tool_use_id
        if line.type == "user" and not is_told and line.message is not None and _asks(line.message.content):
            self._asked[line.transcript or line.session_id or ""] += 1

    def statements(self) -> Iterator[TracedCall]:
        """One for each session; files that repeat a session's lines say it under the same id."""
        for session, asked in self._asked.items():
            if session:
                yield TracedCall(id=f"turns:{session}", session=session, kind="statement", calls=0, turns=asked)


def _asks(content: list[Part] | str | None) -> bool:
    if isinstance(content, str):
        return not content.startswith(_NOT_ASKED)
    blocks = content or ()
    is_result = any(block.type == "tool_result" for block in blocks)
    return not is_result and any(not (block.text or "").startswith(_NOT_ASKED) for block in blocks)
