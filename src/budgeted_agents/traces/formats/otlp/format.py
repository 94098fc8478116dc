"""The format ``otlp``."""

from __future__ import annotations

from collections.abc import Iterator

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import MAY_BE_SUM, TracedCall
from budgeted_agents.traces.formats.otlp.conversations import MOST, Conversations
from budgeted_agents.traces.formats.otlp.parts import PartEdges
from budgeted_agents.traces.formats.otlp.protobuf import is_length_prefixed
from budgeted_agents.traces.formats.otlp.reading import has_lines, spans_of
from budgeted_agents.traces.formats.otlp.spans import SpanMapper
from budgeted_agents.traces.formats.otlp.sums import without_sums
from budgeted_agents.traces.sources import Source

_MARK = b'"resource'
"""How both of the marks below begin: one search instead of two."""

_MARKS = (b'"resourceSpans"', b'"resource_spans"')
_FLAT_SPAN = (b'"type":"span"', b'"type": "span"')


class OtlpFormat:
    """Spans as OTLP has them, in JSON (a document, a list, lines) or protobuf, and as VS Code's Copilot writes them."""

    name = "otlp"
    about = "OpenTelemetry spans: OTLP JSON, JSON lines, protobuf; gen_ai.*, OpenInference, OpenLLMetry"

    def detect(self, source: Source) -> bool:
        head = source.head
        if is_length_prefixed(head) or (_MARK in head and any(mark in head for mark in _MARKS)):
            return True
        return b'"traceId"' in head and any(mark in head for mark in _FLAT_SPAN)

    def read(self, source: Source) -> Iterator[TracedCall]:
        suspects = []
        for call in self.read_part(source):
            if call.flags and MAY_BE_SUM in call.flags:
                suspects.append(call)
            else:
                yield call
        yield from self.settle(source, suspects)

    def is_partable(self, source: Source) -> bool:
        return has_lines(source.head)

    def read_part(self, source: Source) -> Iterator[TracedCall]:
        conversations = Conversations()
        part = PartEdges(source, conversations)
        call_of = SpanMapper(source.problems, conversations).call_of
        try:
            for span, scope, resource, line in spans_of(source):
                call = call_of(span, scope, resource, line)
                if call is not None:
                    conversations.waiting.append(call)
                    if call.session is call.trace:  # `names_none`, without a call
                        conversations.has_nameless = True
                if len(conversations.waiting) >= MOST or len(conversations.sessions) >= MOST:
                    yield from part.settled()
        except InvalidTrace:
            yield from part.settled(is_last=True)  # what was read before the damage counts
            raise
        yield from part.settled(is_last=True)

    def settle(self, source: Source, suspects: list[TracedCall]) -> Iterator[TracedCall]:
        if suspects:
            yield from without_sums(suspects, spans_of(source), source.problems)


FORMAT = OtlpFormat()
