"""How often users asked for something, told from what else stands in a transcript as said by the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.formats.claude_code.entries import Block, Entry, Message

_NOT_ASKED = ("<local-command-", "<bash-std", "<task-notification", "<system-reminder", "[Request interrupted")
_NOT_ASKED_IN_BLOCKS = tuple(f'"{beginning}'.encode() for beginning in _NOT_ASKED)
"""How Claude Code's own messages begin."""


class Turns:
    """The requests of each session of a file."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        """Take a line of type ``user``."""
        if not isinstance(entry.message, Message) or not _asks(entry.message.content):
            return
        if not (entry.is_meta or entry.is_summary or entry.is_sidechain or entry.parent_tool_use_id):
            self._asked[entry.session] += 1

    def statements(self) -> Iterator[TracedCall]:
        """One for each session; files that repeat a session's lines say it under the same id."""
        for session, asked in self._asked.items():
            if session:
                yield TracedCall(id=f"turns:{session}", session=session, kind="statement", calls=0, turns=asked)


def _asks(content: list[Block] | str | None) -> bool:
    if isinstance(content, str):
        return not content.startswith(_NOT_ASKED)
    has_text = False
    for block in content or ():
        if block.type == "tool_result":
            return False
        has_text = has_text or not bytes(block.text).startswith(_NOT_ASKED_IN_BLOCKS)
    return has_text
