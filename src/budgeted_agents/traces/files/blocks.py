"""What every source can do once it can give its content in blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.documents import outline
from budgeted_agents.traces.files.limits import HEAD, MAX_DOCUMENT, MEBIBYTE, unreadable
from budgeted_agents.traces.files.lines import as_utf8, as_valid, split_lines, whole_lines
from budgeted_agents.traces.problems import Problems


class BlockSource(ABC):
    """A source of traces over blocks of bytes.

    Args:
        path: what messages call it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems = Problems(path)

    @abstractmethod
    def blocks(self) -> Iterator[bytes]:
        """The content, unpacked, in pieces of no particular size; for formats that are not text.

        Raises:
            InvalidTrace: it cannot be read, is damaged or cut off, or unpacks to absurdly much.
        """

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the content, as text in UTF-8 where it is text."""
        head = b""
        for block in as_utf8(self.blocks()):
            head += block
            if len(head) >= HEAD:
                break
        return head[:HEAD]

    @cached_property
    def outline(self) -> frozenset[str]:
        """The dotted paths of keys in the first JSON value, as far as the head shows them. Most formats ask for it."""
        return outline(self.head)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Lines that are not blank, with their numbers, from 1: in UTF-8, without what stands around the record.

        What is cut off or damaged ends them with a problem: what was read before it stands.

        Raises:
            InvalidTrace: nothing can be read.
        """
        return split_lines(self._until_damage(), self.problems)

    def chunks(self) -> Iterator[tuple[int, int, bytes]]:
        """Whole lines as they stand there, many at once, with the numbers of the first and the last.

        Raises:
            InvalidTrace: nothing can be read.
        """
        return whole_lines(self._until_damage(), self.problems)

    def document(self) -> bytes:
        """The whole content in UTF-8.

        Raises:
            InvalidTrace: it is above the size limit, cut off or damaged.
        """
        content = bytearray()
        for block in as_utf8(self.blocks()):
            content += block
            if len(content) > MAX_DOCUMENT:
                problem = f"is one document of more than {MAX_DOCUMENT // MEBIBYTE} MiB"
                raise unreadable(problem, self.path, "Export it as JSON lines, or in several files")
        return as_valid(bytes(content), self.problems)

    def _until_damage(self) -> Iterator[bytes]:
        is_begun = False
        try:
            for block in as_utf8(self.blocks()):
                yield block
                is_begun = True
        except InvalidTrace as error:
            if not is_begun:
                raise
            self.problems.warn(f"{error.problem}; what stands before that is used")
