"""Blocks of bytes as lines and as UTF-8, whatever encoding their writer chose."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from io import BytesIO

from budgeted_agents.traces.files.limits import MAX_LINE, MEBIBYTE
from budgeted_agents.traces.problems import Problems

_BLANK = b" \t\r\0"
"""What may stand around a record: a file that was cut off by a crash is often filled up with zeros."""

_OPENING = (b"{", b"[")
_MARKS = ((codecs.BOM_UTF8, ""), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def as_utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without byte order mark, UTF-16 turned into UTF-8."""
    first = next(blocks, b"")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if first.startswith(mark)), (b"", _unmarked(first)))
    first = first[len(mark) :]
    if not encoding:
        yield first
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    yield decoder.decode(first).encode("utf-8", "replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def is_utf16(head: bytes) -> bool:
    """Whether a file that begins like this is UTF-16."""
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or bool(_unmarked(head))


def split_lines(blocks: Iterable[bytes], problems: Problems, before: int = 0) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers: as valid UTF-8, without what stands around their records.

    A line that is too long is passed over with a problem.

    Args:
        blocks: what to split.
        problems: where to say what is passed over.
        before: how many lines stand before them in their file.
    """
    number = before
    for lines, is_plain in _whole_lines(blocks):
        for line in lines:
            number += 1
            if len(line) > MAX_LINE:
                _skip_long(problems, number)
            elif line := line.strip(_BLANK) if is_plain else _cleaned(line, problems, number):
                yield number, line


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[tuple[list[bytes], bool]]:
    """Lists of whole lines, and whether they are plain ASCII. Of a line that is too long, only its beginning."""
    rest, size, was_plain = [b""], 0, True
    for block in blocks:
        is_plain = block.isascii() and b"\0" not in block
        if b"\n" in block:
            *whole, last = b"".join((*rest, block)).split(b"\n")
            yield whole, was_plain and is_plain
            rest, size, was_plain = [last], len(last), is_plain
        elif size <= MAX_LINE:
            rest.append(block)
            size += len(block)
            was_plain = was_plain and is_plain
    yield [b"".join(rest)], was_plain


def whole_lines(blocks: Iterable[bytes], problems: Problems) -> Iterator[tuple[int, int, bytes]]:
    """As many whole lines at once as a block has, just as they are, with the numbers of the first and the last."""
    number, rest, is_too_long = 1, b"", False
    for block in blocks:
        if is_too_long and (end := block.find(b"\n") + 1):
            _skip_long(problems, number)
            number, block, is_too_long = number + 1, block[end:], False
        if is_too_long:
            continue
        end = block.rfind(b"\n") + 1
        if end:
            lines, rest = b"".join((rest, memoryview(block)[:end])), b""  # copied once
            after = number + len(BytesIO(lines).readlines())  # many times as quick as to count a byte
            yield number, after - 1, lines
            number = after
        rest += block[end:]
        if len(rest) > MAX_LINE:
            rest, is_too_long = b"", True
    if is_too_long:
        _skip_long(problems, number)
    elif rest:
        yield number, number, rest


def as_valid(text: bytes, problems: Problems, number: int = 0) -> bytes:
    """The text as valid UTF-8."""
    if is_utf8(text):
        return text
    problems.warn("is not UTF-8; it is read as Latin-1", number)
    return text.decode("latin-1").encode()


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unmarked(head: bytes) -> str:
    """The kind of UTF-16 that a JSON text without a mark is in; empty if in none."""
    if head[:1] in _OPENING and head[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if head[:1] == b"\0" and head[1:2] in _OPENING else ""


def _cleaned(line: bytes, problems: Problems, number: int) -> bytes:
    """A line of files that were joined into one may begin with a mark of its own."""
    return as_valid(line.strip(_BLANK).removeprefix(codecs.BOM_UTF8), problems, number)


def _skip_long(problems: Problems, number: int) -> None:
    problems.skip(f"the line is longer than {MAX_LINE // MEBIBYTE} MiB; it is skipped", number)
