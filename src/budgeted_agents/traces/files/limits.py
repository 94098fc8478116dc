"""How much of anything a trace file may have; what is above it is refused or passed over, whoever wrote it."""

from __future__ import annotations

from budgeted_agents.errors import InvalidTrace

MEBIBYTE = 1 << 20

BLOCK = 64 << 10
"""Bytes that are read at once."""

HEAD = 64 << 10
"""Bytes at the beginning of a file that tell its format."""

MAX_LINE = 16 * MEBIBYTE
"""The longest line that is read, in bytes."""

MAX_DOCUMENT = 128 * MEBIBYTE
"""The largest file that is read as one document, in bytes."""

MAX_MEMBERS = 100_000
"""The most files of one archive that are read."""

MAX_RATIO = 100
"""Unpacked bytes for each packed one. Traces stay below 50, because ids do not repeat; bombs reach 1,000 and more."""

MAX_WINDOW = 64 * MEBIBYTE
"""Memory a zstd frame may ask for, in bytes."""

FREE_UNPACKING = 32 * MEBIBYTE
"""Unpacked bytes up to which the ratio does not matter."""


def unreadable(problem: str, path: str, remedy: str = "Give a whole and undamaged file") -> InvalidTrace:
    """The error of a file that cannot be read."""
    return InvalidTrace(problem, field="path", value=path, place=path, remedy=remedy)
