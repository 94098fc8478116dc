"""Where spans stand in a file: lines of JSON, one JSON document, or messages with their length before them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from budgeted_agents.traces.files.lines import is_utf8, split_lines
from budgeted_agents.traces.formats.otlp.protobuf import is_length_prefixed, messages, traces_data
from budgeted_agents.traces.formats.otlp.salvage import salvage
from budgeted_agents.traces.formats.otlp.shapes import Located, TracesData
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source
from budgeted_agents.traces.values import decoded_at_once

_line = msgspec.json.Decoder(TracesData, strict=False)
_document = msgspec.json.Decoder(list[TracesData] | TracesData, strict=False)

_OPENING = b'{"resourceSpans"'
"""How a line begins."""

_LONGEST_OPENING = 200
"""Bytes of the first line of a document that is laid out for people."""


def spans_of(source: Source) -> Iterator[Located]:
    """The spans of a file; what cannot be read goes to its problems.

    Raises:
        InvalidTrace: nothing of it can be read.
    """
    head = source.head
    if is_length_prefixed(head):
        return _of_messages(source)
    return _of_lines(source) if has_lines(head) else _of_document(source)


def _of_lines(source: Source) -> Iterator[Located]:
    """Many lines are decoded at once; only where that fails, or would pass over what is no UTF-8, they are taken one
    by one."""
    for first, last, lines in source.chunks():
        records = decoded_at_once(_line, lines, last - first + 1) if is_utf8(lines) else None
        if records is None:
            yield from _one_by_one(lines, first, source.problems)
            continue
        for number, data in enumerate(records, first):
            for of_resource in data.resource_spans:
                resource = of_resource.resource
                for of_scope in of_resource.scope_spans:
                    scope = of_scope.scope.name
                    for span in of_scope.spans:
                        yield span, scope, resource, number


def _one_by_one(lines: bytes, first: int, problems: Problems) -> Iterator[Located]:
    for number, line in split_lines([lines], problems, first - 1):
        try:
            data = _line.decode(line)
        except (ValueError, RecursionError):
            begin = line.rfind(_OPENING)
            if begin > 0:  # a writer died in its midst, and another one's line stands behind it
                yield from _of_record(line[:begin], number, problems)
                yield from _of_record(line[begin:], number, problems)
            else:
                yield from salvage(line, problems, number)
        else:
            yield from _of_data(data, number)


def _of_record(record: bytes, number: int, problems: Problems) -> Iterator[Located]:
    try:
        data = _line.decode(record)
    except (ValueError, RecursionError):
        yield from salvage(record, problems, number)
    else:
        yield from _of_data(data, number)


def _of_document(source: Source) -> Iterator[Located]:
    document = source.document()
    try:
        data = _document.decode(document)
    except (ValueError, RecursionError):
        yield from salvage(document, source.problems)
        return
    for request in data if isinstance(data, list) else [data]:
        yield from _of_data(request, 0)


def _of_messages(source: Source) -> Iterator[Located]:
    """Numbers of messages stand for numbers of lines."""
    for number, message in enumerate(messages(source), 1):
        yield from _of_message(message, number, source.problems)


def _of_message(message: bytes, number: int, problems: Problems) -> Iterator[Located]:
    if message.startswith(b"{"):
        yield from _of_record(message, number, problems)
        return
    try:
        data = traces_data(message, problems.path)
    except (ValueError, RecursionError) as error:
        problems.skip(f"is no protobuf message of spans ({error}); it is skipped", number)
        return
    yield from _of_data(data, number)


def _of_data(data: TracesData, number: int) -> Iterator[Located]:
    for of_resource in data.resource_spans:
        for of_scope in of_resource.scope_spans:
            yield from ((span, of_scope.scope.name, of_resource.resource, number) for span in of_scope.spans)


def has_lines(head: bytes) -> bool:
    """Whether a file that begins so has a record on each line: it is no list, no object laid out, no protobuf."""
    first, newline, _ = head.lstrip().partition(b"\n")
    is_laid_out = bool(newline) and len(first) < _LONGEST_OPENING and not first.rstrip().endswith(b"}")
    return not (first.startswith(b"[") or is_laid_out or is_length_prefixed(head))
