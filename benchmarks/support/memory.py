"""How much memory a process and all its descendants need at once. Linux only: it reads /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

_EVERY = 0.01
"""Seconds between two looks."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """Watches a process while the block runs. What processes share is counted in each of them.

    Args:
        pid: the process.

    Attributes:
        megabytes: the most that all of them together had in memory.
    """

    def __init__(self, pid: int) -> None:
        self.megabytes = 0.0
        self._pid = pid
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_done.wait(_EVERY):
            pages = sum(_pages(pid) for pid in _family(self._pid))
            self.megabytes = max(self.megabytes, pages * _PAGE / 1e6)


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, _text(children).split())
    return found


def _pages(pid: int) -> int:
    """Pages of memory that a process has; 0 if it is gone."""
    fields = _text(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) if len(fields) > 1 else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
