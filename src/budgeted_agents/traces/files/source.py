"""``FileSource``: one file, or a part of one, open for reading as often as an importer likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from budgeted_agents.traces.files.blocks import BlockSource
from budgeted_agents.traces.files.limits import BLOCK, MEBIBYTE, unreadable
from budgeted_agents.traces.files.lines import is_utf16
from budgeted_agents.traces.files.unpacking import GZIP, ZIP, ZSTD, unpacked

if TYPE_CHECKING:
    from budgeted_agents.traces.files.archive import Member

_SMALL = MEBIBYTE // 4
"""Files up to this size (bytes) are read once and kept while they are looked at."""

_MAGIC = 4


class FileSource(BlockSource):
    """A file of traces.

    Args:
        path: the file.
        part: read only the lines that begin in this range of bytes (from, to), of a file that `can_be_parted`.
    """

    def __init__(self, path: Path, part: tuple[int, int] | None = None) -> None:
        super().__init__(str(path))
        self.file = path
        self._part = part

    @property
    def is_part(self) -> bool:
        """Whether only some of its lines are read."""
        return self._part is not None

    def around(self, reach: int) -> tuple[FileSource | None, FileSource | None]:
        """So many bytes of the file before this part, and behind it; None where there are none, or of a whole file."""
        if self._part is None:
            return None, None
        start, end = self._part
        before = FileSource(self.file, (max(start - reach, 0), start)) if start else None
        return before, FileSource(self.file, (end, min(end + reach, self.size))) if end < self.size else None

    def lines_before(self) -> int:
        """How many lines of the file stand before this part."""
        start = self._part[0] if self._part else 0
        left, lines = start - 1, int(start > 0)  # the line that the part begins in, or behind, is one of them
        with self._opened() as stream:
            while left > 0 and (block := stream.read(min(left, BLOCK))):
                left -= len(block)
                lines += block.count(b"\n")
        return lines

    @cached_property
    def size(self) -> int:
        """Bytes on disk; 0 if the file cannot be read."""
        try:
            return self.file.stat().st_size
        except OSError:
            return 0

    @property
    def is_archive(self) -> bool:
        """Whether the file has members."""
        return self._magic == ZIP

    @property
    def can_be_parted(self) -> bool:
        """Whether the file can be read from the middle on: it is not packed, and its lines end in one byte."""
        return not self._is_packed and not is_utf16(self._magic)

    def blocks(self) -> Iterator[bytes]:
        if self._part is None and self.size <= _SMALL:
            yield from unpacked(BytesIO(self._content), self.path) if self._is_packed else (self._content,)
            return
        with self._opened() as stream:
            yield from unpacked(stream, self.path) if self._part is None else _between(stream, *self._part)

    def members(self, suffix: str = "") -> Iterator[Member]:
        if self.is_archive:
            from budgeted_agents.traces.files.archive import members_of  # few files are one

            with self._opened() as stream:
                yield from members_of(stream, self.path, suffix)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with self.file.open("rb", buffering=0) as stream:
                yield stream
        except OSError as error:
            raise unreadable(f"cannot be read ({error.strerror})", self.path, "Check its permissions") from error

    @cached_property
    def _content(self) -> bytes:
        """All of a small file, which is looked at several times."""
        with self._opened() as stream:
            return stream.read()

    @property
    def _is_packed(self) -> bool:
        return self._magic.startswith((GZIP, ZSTD, ZIP))

    @cached_property
    def _magic(self) -> bytes:
        if self.size <= _SMALL:
            return self._content[:_MAGIC]
        with self._opened() as stream:
            return stream.read(_MAGIC)


def _between(stream: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """Whole lines that begin at ``start`` or behind it, and before ``end``."""
    if start:
        stream.seek(start - 1)
    position, is_inside = max(start - 1, 0), not start
    while block := stream.read(BLOCK):
        begins = position
        position += len(block)
        if not is_inside:
            cut = block.find(b"\n") + 1
            if not cut:
                continue
            block, begins, is_inside = block[cut:], begins + cut, True
            if begins >= end:
                return
        if position < end:
            yield block
            continue
        cut = block.find(b"\n", max(end - 1 - begins, 0)) + 1
        yield block[:cut] if cut else block
        if cut:
            return
