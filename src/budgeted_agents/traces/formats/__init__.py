"""Trace formats, one importer a file. They are found by entry point, so that a user's own stand beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.sources import Source

ENTRY_POINTS = "budgeted_agents.trace_formats"
"""The group of entry points in which formats are registered: ``name = "package.module:format"``."""


class Format(Protocol):
    """Reads one kind of trace file. A module's ``FORMAT`` is its instance.

    Attributes:
        name: what ``--format`` calls it.
        about: one line for ``--help``.
    """

    name: str
    about: str

    def detect(self, source: Source) -> bool:
        """Whether a file looks like this format, by its ``head`` (and its name, where that says more)."""

    def read(self, source: Source) -> Iterator[TracedCall]:
        """Its calls, in the order they stand in the file, each written once by this file.

        What cannot be read goes to ``source.problems`` with its line, and the rest is read on.

        Raises:
            InvalidTrace: nothing of the file can be read.
        """


@runtime_checkable
class PartableFormat(Format, Protocol):
    """A format whose files can be read in parts by several processes: every line stands for itself, or nearly so."""

    def is_partable(self, source: Source) -> bool:
        """Whether this file is made of lines."""

    def read_part(self, source: Source) -> Iterator[TracedCall]:
        """The calls of some of a file's lines. Those that the rest of the file may prove to be none carry the flag
        `MAY_BE_SUM`."""

    def settle(self, source: Source, suspects: list[TracedCall]) -> Iterator[TracedCall]:
        """Which of the calls with that flag are calls, by a second look at the whole file."""
