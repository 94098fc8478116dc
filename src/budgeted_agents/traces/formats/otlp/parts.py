"""Parts of a file: what only other spans tell of a call may stand on the other side of where a part begins or ends."""

from __future__ import annotations

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.files.limits import MEBIBYTE
from budgeted_agents.traces.formats.otlp.conversations import Conversations
from budgeted_agents.traces.formats.otlp.reading import spans_of
from budgeted_agents.traces.formats.otlp.spans import SpanMapper
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source

_REACH = 2 * MEBIBYTE
"""Bytes that are looked at on the other side, where that can change anything: some 1,000 spans."""


class PartEdges:
    """Settles the calls of a part with those around it, which it takes from its neighbors and does not give out.

    Args:
        source: the part, or a whole file, which has nothing around it.
        conversations: its calls.
    """

    def __init__(self, source: Source, conversations: Conversations) -> None:
        self._conversations = conversations
        self._before, self._behind = source.around(_REACH) if isinstance(source, FileSource) else (None, None)
        self._others: dict[int, TracedCall] = {}

    def settled(self, *, is_last: bool = False) -> list[TracedCall]:
        """The part's own calls that wait no longer."""
        known = self._conversations
        if known.needs_others:
            if self._before is not None:
                known.waiting[:0] = self._of_others(self._before)
            if is_last and self._behind is not None:
                known.waiting += self._of_others(self._behind)
        self._before = None
        calls = known.settled(is_last=is_last)
        return [call for call in calls if id(call) not in self._others] if self._others else calls

    def _of_others(self, source: FileSource) -> list[TracedCall]:
        call_of = SpanMapper(Problems(source.path), self._conversations).call_of
        try:
            found = [call for located in spans_of(source) if (call := call_of(*located)) is not None]
        except InvalidTrace:  # whoever reads that part says so
            found = []
        self._others |= {id(call): call for call in found}
        return found
