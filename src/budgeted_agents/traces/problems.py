"""What could not be read, kept beside what could: a bad line costs itself, never the rest of the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

MOST_KEPT = 100
"""Problems of one file that are kept word by word; the others are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that was passed over.

    Attributes:
        path: the file.
        message: what is wrong, and what became of it.
        line: its line, from 1; 0 if it has none.
    """

    path: str
    message: str
    line: int = 0

    @property
    def place(self) -> str:
        """``file:line``, or the file."""
        return f"{self.path}:{self.line}" if self.line else self.path

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(slots=True)
class Problems:
    """The problems of one file.

    Attributes:
        path: the file.
        kept: the first of them.
        skipped: how many records were passed over.
    """

    path: str
    kept: list[Problem] = field(default_factory=list)
    skipped: int = 0
    _is_said: bool = False

    def skip(self, message: str, line: int = 0) -> None:
        """A record was passed over."""
        if not self._is_said:
            self.skipped += 1
        self.warn(message, line)

    def warn(self, message: str, line: int = 0) -> None:
        """A record was used, but something about it is odd."""
        if len(self.kept) < MOST_KEPT and not self._is_said:
            self.kept.append(Problem(self.path, message, line))

    def merge(self, other: Problems) -> None:
        """Add those of another part of the file."""
        self.skipped += other.skipped
        self.kept += other.kept[: MOST_KEPT - len(self.kept)]

    def move(self, lines: int) -> None:
        """The part of the file they are of begins so many lines behind the file's first."""
        self.kept = [replace(problem, line=problem.line + lines) if problem.line else problem for problem in self.kept]

    @contextmanager
    def said_before(self) -> Iterator[None]:
        """While a file is read a second time, its problems are not told again."""
        self._is_said = True
        try:
            yield
        finally:
            self._is_said = False
