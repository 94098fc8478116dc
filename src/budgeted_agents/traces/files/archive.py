"""Members of zip archives, also those packed by zstd, which ``zipfile`` cannot unpack before Python 3.14."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import IO

from budgeted_agents.traces.files.blocks import BlockSource
from budgeted_agents.traces.files.limits import MAX_MEMBERS, unreadable
from budgeted_agents.traces.files.unpacking import deflated, stored, within_ratio, zstd

_ENCRYPTED = 0x1
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ZSTD = 93


class Member(BlockSource):
    """One file of an archive, which has to stay open.

    Args:
        stream: the archive.
        info: where the file stands in it.
        archive: the archive's path.
    """

    def __init__(self, stream: IO[bytes], info: zipfile.ZipInfo, archive: str) -> None:
        super().__init__(f"{archive}!{info.filename}")
        self._stream = stream
        self._info = info

    def blocks(self) -> Iterator[bytes]:
        return within_ratio(self._unpacked(), self._info.compress_size, self.path)

    def members(self, suffix: str = "") -> Iterator[Member]:
        """None: an archive in an archive is not opened."""
        return iter(())

    def _unpacked(self) -> Iterator[bytes]:
        packed = _Slice(self._stream, self._start(), self._info.compress_size)
        method = self._info.compress_type
        if self._info.flag_bits & _ENCRYPTED:
            raise unreadable("is encrypted", self.path, "Decrypt it first")
        if method == zipfile.ZIP_DEFLATED:
            return deflated(packed, self.path)
        if method == _ZSTD:
            return zstd(packed, self.path)
        if method == zipfile.ZIP_STORED:
            return stored(packed)
        raise unreadable(f"is packed by method {method}", self.path, "Pack it again with deflate")

    def _start(self) -> int:
        """Where its data begin: behind a header whose length the archive's directory does not tell."""
        self._stream.seek(self._info.header_offset)
        header = self._stream.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise unreadable("is damaged (there is no such member)", self.path)
        _, name, extra = _LOCAL_HEADER.unpack(header)
        return int(self._info.header_offset + _LOCAL_HEADER.size + name + extra)


def members_of(stream: IO[bytes], path: str, suffix: str = "") -> Iterator[Member]:
    """The files of an archive whose names end so, in order.

    Raises:
        InvalidTrace: the archive is damaged, or has too many files.
    """
    try:
        infos = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise unreadable(f"is a damaged archive ({error})", path) from error
    if len(infos) > MAX_MEMBERS:
        raise unreadable(f"has {len(infos):,} files, more than {MAX_MEMBERS:,}", path, "Unpack it first")
    yield from (Member(stream, info, path) for info in infos if info.filename.endswith(suffix) and not info.is_dir())


class _Slice:
    """A range of a file that may be read while others read elsewhere in it."""

    def __init__(self, stream: IO[bytes], start: int, size: int) -> None:
        self._stream, self._position, self._left = stream, start, size

    def read(self, size: int = -1, /) -> bytes:
        self._stream.seek(self._position)
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._position += len(data)
        self._left -= len(data)
        return data
