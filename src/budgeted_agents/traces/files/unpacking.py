"""Packed content as a stream of blocks, never more than a block ahead of who reads it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, Protocol

from budgeted_agents.traces.files.limits import BLOCK, FREE_UNPACKING, MAX_RATIO, MAX_WINDOW, unreadable

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
ZIP = b"PK\x03\x04"

_GZIP_BITS, _RAW_BITS = 31, -15

_ZSTD_STEP = 512
"""Packed bytes that zstd is given at once. Four of them can stand for 128 KiB."""


class Packed(Protocol):
    """What packed bytes are read from."""

    def read(self, size: int = ..., /) -> bytes: ...


def unpacked(stream: IO[bytes], path: str) -> Iterator[bytes]:
    """The content of a file in blocks, unpacked if it is gzip or zstd.

    Raises:
        InvalidTrace: it is damaged, cut off, or unpacks to absurdly much; or zstd is not installed.
    """
    magic = stream.read(4)
    stream.seek(0)
    if magic.startswith(GZIP):
        return _bounded(stream, _inflated(stream, path, _GZIP_BITS), path)
    if magic == ZSTD:
        return _bounded(stream, zstd(stream, path), path)
    return stored(stream)


def stored(stream: Packed) -> Iterator[bytes]:
    """Content that is not packed."""
    return iter(lambda: stream.read(BLOCK), b"")


def deflated(stream: Packed, path: str) -> Iterator[bytes]:
    """Content packed as archives do it: deflate without a header.

    Raises:
        InvalidTrace: it is damaged or cut off.
    """
    return _inflated(stream, path, _RAW_BITS)


def zstd(stream: Packed, path: str) -> Iterator[bytes]:
    """Content packed by zstd, all its frames.

    Raises:
        InvalidTrace: it is damaged or cut off, or zstandard is not installed.
    """
    try:
        import zstandard
    except ImportError:
        remedy = "Run: pip install 'budgeted-agents[replay]'"
        raise unreadable("is packed by zstd, which needs the package zstandard", path, remedy) from None
    frames = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    unpacker = None
    try:
        for packed in _in_steps(stored(stream)):
            while packed:
                unpacker = unpacker or frames.decompressobj()
                if block := unpacker.decompress(packed):
                    yield block
                packed = unpacker.unused_data
                unpacker = None if unpacker.eof else unpacker
    except zstandard.ZstdError as error:
        raise unreadable(f"is damaged ({error})", path) from error
    if unpacker is not None:  # zstandard's own reader would say nothing
        raise unreadable("is cut off", path)


def _in_steps(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """So little at once that even a bomb unpacks to some MiB only."""
    for block in blocks:
        for start in range(0, len(block), _ZSTD_STEP):
            yield block[start : start + _ZSTD_STEP]


def within_ratio(blocks: Iterator[bytes], packed: int, path: str) -> Iterator[bytes]:
    """The blocks, as long as they are not absurdly more than their packed size in bytes.

    Raises:
        InvalidTrace: they are.
    """
    size = 0
    for block in blocks:
        size += len(block)
        if size > FREE_UNPACKING and size > packed * MAX_RATIO:
            raise unreadable(f"unpacks to more than {MAX_RATIO} times its size", path, "Unpack it to see what it is")
        yield block


def _bounded(stream: IO[bytes], blocks: Iterator[bytes], path: str) -> Iterator[bytes]:
    size = stream.seek(0, 2)
    stream.seek(0)
    return within_ratio(blocks, size, path)


def _inflated(stream: Packed, path: str, bits: int) -> Iterator[bytes]:
    """Members of zlib's formats, one after the other."""
    unpacker = None
    try:
        for packed in stored(stream):
            while packed:
                if unpacker is None:
                    if not (packed := packed.lstrip(b"\0")):  # padding behind a member
                        break
                    unpacker = zlib.decompressobj(bits)
                yield unpacker.decompress(packed, BLOCK)
                packed = unpacker.unconsumed_tail or unpacker.unused_data
                unpacker = None if unpacker.eof else unpacker
        while unpacker is not None and (block := unpacker.decompress(b"", BLOCK)):
            yield block
    except zlib.error as error:
        raise unreadable(f"is damaged ({error})", path) from error
    if unpacker is not None and not unpacker.eof:
        raise unreadable("is cut off", path)
