"""The lines of transcripts and streams, as far as they matter to an audit."""

from __future__ import annotations

from typing import Any

import msgspec

_NAMES = {
    "agent": "agentId",
    "cost": "costUSD",
    "is_api_error": "isApiErrorMessage",
    "is_meta": "isMeta",
    "is_sidechain": "isSidechain",
    "is_summary": "isCompactSummary",
    "leaf": "leafUuid",
    "models": "modelUsage",
    "parent": "parentUuid",
    "request": "requestId",
    "transcript": "sessionId",
}
_SNAPSHOT = "file-history-snapshot"

ABSENT = msgspec.Raw()


class Block(msgspec.Struct, gc=False):
    """A part of a message: a text, the call of a tool, its result."""

    type: str = ""
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = ABSENT
    text: msgspec.Raw = ABSENT


class Message(msgspec.Struct, gc=False):
    """What the model answered, or what it was told. ``usage`` is read once for all lines that repeat it."""

    model: str | None = None
    id: str | None = None
    content: list[Block] | str | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = ABSENT


class Entry(msgspec.Struct, gc=False, rename=_NAMES):
    """A line of a transcript (it has ``sessionId``) or of a stream (``session_id``).

    Its fields stand in the order in which transcripts have them: each is looked for behind the one before.
    """

    is_sidechain: bool = False
    cwd: str | None = None
    transcript: str | None = None
    agent: str | None = None
    type: str = ""
    request: str | None = None
    message: Message | str | None = None
    is_api_error: bool = False
    is_meta: bool = False
    uuid: str | None = None
    timestamp: str | None = None
    is_summary: bool = False
    cost: Any = None
    subtype: str | None = None
    is_error: bool | None = None
    num_turns: int = 0
    parent_tool_use_id: str | None = None
    session_id: str | None = None
    total_cost_usd: Any = None
    usage: Any = None
    models: dict[str, Any] | None = None

    @property
    def session(self) -> str:
        return self.transcript or self.session_id or ""

    @property
    def node(self) -> str:
        """The main loop, or the sub-agent that speaks."""
        if self.agent:
            return f"agent-{self.agent}"
        return "sidechain" if self.is_sidechain or self.parent_tool_use_id else "main"


class _Kind(msgspec.Struct, gc=False, rename=_NAMES):
    """What tells a line of Claude Code from others."""

    type: str = ""
    subtype: str | None = None
    transcript: str | None = None
    session_id: str | None = None
    parent: msgspec.Raw = ABSENT
    leaf: msgspec.Raw = ABSENT
    parent_tool_use_id: msgspec.Raw = ABSENT
    total_cost_usd: msgspec.Raw = ABSENT


ENTRY = msgspec.json.Decoder(Entry)
ENTRIES = msgspec.json.Decoder(list[Entry] | Entry)
_KIND = msgspec.json.Decoder(_Kind | list[_Kind])


def is_entry(line: bytes) -> bool:
    """Whether a line is one of Claude Code's, or a list of such."""
    try:
        kind = _KIND.decode(line)
    except (ValueError, RecursionError):
        return False
    return any(map(_is_ours, kind if isinstance(kind, list) else [kind]))


def _is_ours(kind: _Kind) -> bool:
    if kind.type == _SNAPSHOT or (kind.type == "summary" and kind.leaf != ABSENT):
        return True
    if kind.transcript:
        return kind.parent != ABSENT or kind.type == "queue-operation"
    if kind.session_id is None:
        return False
    is_result = kind.type == "result" and kind.total_cost_usd != ABSENT
    return is_result or kind.parent_tool_use_id != ABSENT or (kind.type, kind.subtype) == ("system", "init")
