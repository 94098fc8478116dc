"""What the local provider plays in the demonstration: a researcher who does not stop at the best hits but reads on,
page after page, until somebody stops it. That is what budgets are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from budgeted_agents.testing import Reply, Request, ToolCall, research_replies
from budgeted_agents.testing.replies import ReplyPolicy

PAGE, PAGE_CHARACTERS = 80, 7_900
"""Lines, and nearly the characters, that the agent's reading tool returns at most: a page that full has a next one."""


def thorough_replies(reads: int) -> ReplyPolicy:
    """As ``research_replies``, but with the best hits read it turns to their next pages, up to ``reads`` in all."""
    usual = research_replies(reads=reads, sentences=2)

    def reply_to(request: Request) -> Reply:
        reply = usual(request)
        if not request.tools or reply.tool_calls:
            return reply
        pages = list(_pages_read(request))
        unread = next(_unread(pages), None) if len(pages) < reads else None
        if unread is None:
            return reply
        tool, file, line = unread
        return Reply(tool_calls=[ToolCall(tool, {"file": file, "start_line": line})])

    return reply_to


@dataclass(frozen=True)
class _Page:
    """A page that was read: by which tool, of which file, from which line on."""

    tool: str
    file: str
    line: int
    text: str

    @property
    def neighbors(self) -> Iterator[int]:
        """First lines of the pages before and behind."""
        lines = len(self.text.splitlines())
        if self.line > 1:
            yield max(1, self.line - PAGE)
        if lines >= PAGE or len(self.text) >= PAGE_CHARACTERS:
            yield self.line + lines


def _pages_read(request: Request) -> Iterator[_Page]:
    results = {message.tool_call_id: message.text for message in request.messages if message.role == "tool"}
    for message in request.messages:
        for call in message.tool_calls:
            if "file" in call.arguments:
                text = results.get(call.id, "").partition("\n")[2]  # behind a line that names the place
                yield _Page(call.name, str(call.arguments["file"]), int(call.arguments.get("start_line", 1)), text)


def _unread(pages: list[_Page]) -> Iterator[tuple[str, str, int]]:
    """Tool, file and line of every neighboring page that has not been read."""
    read = {(page.file, page.line) for page in pages}
    for page in pages:
        yield from ((page.tool, page.file, line) for line in page.neighbors if (page.file, line) not in read)
