"""What could not be read, kept beside what could: a bad line costs itself, never the rest of the input."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_KEPT = 100
"""Problems of one file that are kept word by word; the others are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that was passed over.

    Attributes:
        place: ``file:line``, or the file.
        message: what is wrong, and what became of it.
    """

    place: str
    message: str

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

    def skip(self, message: str, line: int = 0) -> None:
        """A record was passed over."""
        self.skipped += 1
        self.warn(message, line)

    def warn(self, message: str, line: int = 0) -> None:
        """A record was used, but something about it is odd."""
        if len(self.kept) < MOST_KEPT:
            self.kept.append(Problem(f"{self.path}:{line}" if line else self.path, message))
