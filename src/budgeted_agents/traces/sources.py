"""Files as importers see them: decompressed, bounded, line by line or whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from budgeted_agents.traces.problems import Problems


class Source(Protocol):
    """One file of traces, open for one pass.

    Attributes:
        path: as the user named it; an archive's member is ``archive!member``.
        head: the first bytes of the content (64 KiB at most), decompressed; enough to tell the format.
        outline: the dotted paths of keys in its first JSON value, as far as the head shows them.
        problems: where an importer says what it had to pass over.
    """

    @property
    def path(self) -> str: ...

    @property
    def head(self) -> bytes: ...

    @property
    def outline(self) -> frozenset[str]: ...

    @property
    def problems(self) -> Problems: ...

    def blocks(self) -> Iterator[bytes]:
        """The content in pieces of no particular size, for formats that are not text.

        Raises:
            InvalidTrace: it cannot be read, is cut off or damaged, or unpacks to absurdly much.
        """

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Non-empty lines with their numbers, from 1. A line above the size limit is skipped with a problem.

        Raises:
            InvalidTrace: the content is cut off or damaged, or unpacks to absurdly much.
        """

    def chunks(self) -> Iterator[tuple[int, int, bytes]]:
        """The same lines, many at once and just as they are, with the numbers of the first and the last.

        Raises:
            InvalidTrace: the content is cut off or damaged, or unpacks to absurdly much.
        """

    def document(self) -> bytes:
        """The whole content, for formats that are one JSON document.

        Raises:
            InvalidTrace: it is above the size limit, cut off or damaged.
        """

    def members(self, suffix: str = "") -> Iterator[Source]:
        """The files of a zip archive, in order; none if this is no archive. Each is read before the next is asked for.

        Raises:
            InvalidTrace: the archive is damaged.
        """
