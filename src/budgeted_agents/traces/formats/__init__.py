"""Trace formats, one importer a file. They are found by entry point, so that a user's own stand beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

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
