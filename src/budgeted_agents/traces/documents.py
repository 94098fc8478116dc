"""JSON as traces have it: whole documents, lines, and what the first bytes of a file tell of its shape."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import orjson

from budgeted_agents.errors import InvalidInput, InvalidTrace
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.problems import Problems
from budgeted_agents.traces.sources import Source

Record = Mapping[str, Any]
_T = TypeVar("_T")

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"(\s*:)?|[{}\[\]]', re.DOTALL)
_OPENING = (b"{", b"[")
_CLOSING = (b"}", b"]")
_DEEPEST = 3


def parse(data: bytes, place: str) -> Any:
    """A JSON value. Python's ``NaN`` and ``Infinity`` read as null, and bytes that are no text as question marks.

    Raises:
        InvalidTrace: it is no JSON, or nests too deep.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(data, place, str(error))


def document(source: Source) -> Any:
    """The one JSON value that a file is.

    Raises:
        InvalidTrace: it cannot be read.
    """
    return parse(source.document(), source.path)


def record(source: Source) -> Record:
    """The one JSON object that a file is.

    Raises:
        InvalidTrace: it cannot be read, or is another JSON value.
    """
    value = document(source)
    if not isinstance(value, dict):
        raise InvalidTrace(
            "is no JSON object",
            field="content",
            value=type(value).__name__,
            place=source.path,
            remedy="Check that this is the file you mean, or leave out --format",
        )
    return value


def records(source: Source) -> Iterator[tuple[int, Record]]:
    """The JSON objects of a file with their lines: one a line, or one array, or a single indented object (line 0).

    What is no JSON object goes to the file's problems.

    Raises:
        InvalidTrace: the file is one document that cannot be read.
    """
    for line, value in _values(source):
        if isinstance(value, dict):
            yield line, value
        else:
            source.problems.skip(f"is no JSON object but {type(value).__name__}", line)


def read_each(
    numbered: Iterable[tuple[int, _T]], read: Callable[[int, _T], Iterable[TracedCall]], problems: Problems
) -> Iterator[TracedCall]:
    """The calls of many records, which come with their lines; one whose figures are invalid is passed over."""
    for line, record in numbered:
        try:
            yield from read(line, record)
        except InvalidInput as error:
            problems.skip(f"{error}; it is skipped", line)


def unnumbered(items: Iterable[_T]) -> Iterator[tuple[int, _T]]:
    """Parts of a document, where lines mean nothing."""
    return ((0, item) for item in items)


def outline(head: bytes) -> frozenset[str]:
    """The dotted paths of keys in the first JSON value of a file, three levels deep, as far as its head shows them.

    Lists add no level: the paths of what is in them continue their own.
    """
    paths: set[str] = set()
    around: list[str] = []
    path = ""
    for token in _TOKEN.finditer(head):
        mark = token[0]
        if mark in _OPENING:
            around.append(path)
        elif mark in _CLOSING:
            del around[-1:]
            if not around:
                break
            path = around[-1]
        elif token[1] is not None and around:
            path = _below(around[-1], mark[1 : mark.rindex(b'"')])
            paths.add(path)
    return frozenset(paths)


def _below(parent: str, key: bytes) -> str:
    if parent.count(".") >= _DEEPEST - 1:
        return parent
    name = key.decode("utf-8", "replace")
    return f"{parent}.{name}" if parent else name


def _values(source: Source) -> Iterator[tuple[int, Any]]:
    if _is_document(source.head):
        whole = document(source)
        yield from ((0, value) for value in (whole if isinstance(whole, list) else [whole]))
        return
    for line, data in source.lines():
        try:
            yield line, parse(data, f"{source.path}:{line}")
        except InvalidTrace as error:
            source.problems.skip(error.problem, line)


def _is_document(head: bytes) -> bool:
    """Whether a file is one JSON value and not one a line: it is indented, or all of it is an array."""
    first, _, rest = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if first.startswith(b"[") and rest.strip():
        try:
            orjson.loads(first)
        except orjson.JSONDecodeError:
            return True
        return False  # an array, and more behind it
    return first.startswith(b"[") or first.strip() in _OPENING


def _parse_leniently(data: bytes, place: str, reason: str) -> Any:
    try:
        loaded = json.loads(data.decode("utf-8-sig", "replace"), parse_constant=lambda _: None)
        return orjson.loads(json.dumps(loaded, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidTrace(
            f"is no JSON: {reason}",
            field="content",
            value=f"{len(data)} bytes",
            place=place,
            remedy="Look at it there; a file that was cut off can be exported again",
        ) from None
