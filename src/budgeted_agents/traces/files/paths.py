"""Which files the user means: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.files.limits import unreadable


def find_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The files that paths stand for, each once: folders are walked in order of names, hidden entries left out.

    Args:
        paths: files, folders, and patterns such as ``logs/**/*.jsonl``.

    Raises:
        InvalidTrace: there is nothing at a path, or it is neither a file nor a folder.
    """
    seen: set[tuple[int, int]] = set()
    for given in paths:
        for path in _expanded(given):
            identity = _identity(path)
            if identity is not None and identity not in seen:
                seen.add(identity)
                yield path


def _identity(path: Path) -> tuple[int, int] | None:
    """What two paths to one file have in common; None if it is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _expanded(given: str | Path) -> Iterator[Path]:
    path = Path(given).expanduser()
    try:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _walk(path)
        elif path.exists():
            raise unreadable("is neither a file nor a folder", str(given), "Copy what it holds into a file")
        else:
            yield from _matching(str(path), given)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidTrace):
            raise
        raise unreadable(f"is no path ({error})", str(given), "Give files, folders or patterns") from error


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def _matching(pattern: str, given: str | Path) -> Iterator[Path]:
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 -- Path.glob takes no absolute patterns
    if not found:
        raise unreadable("there is no such file or folder", str(given), "Give files, folders or patterns")
    yield from map(Path, found)
