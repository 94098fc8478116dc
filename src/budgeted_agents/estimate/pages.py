"""How many pages a PDF has: providers bill its text and a picture of each page, so its bytes say little of that."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final

PER_PAGE: Final = 5_000
"""Tokens a page counts as: up to 3,000 of text and 1,600 of its picture, by Anthropic's documentation."""

_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_PACKED = re.compile(rb"/ObjStm\b[^>]*>>\s*stream\r?\n")
_MOST_UNPACKED = 1_000_000
"""Bytes taken of one packed stream; those that hold pages' entries are far shorter."""

_BYTES_PER_PAGE = 2_000
"""Taken where no page is found, as in an encrypted file: few pages are shorter."""


def pages_of(pdf: bytes) -> int:
    """Pages of a PDF, at least 1. Pages that were replaced later on may count twice."""
    found = len(_PAGE.findall(pdf)) or sum(len(_PAGE.findall(objects)) for objects in _unpacked(pdf))
    return found or len(pdf) // _BYTES_PER_PAGE + 1


def _unpacked(pdf: bytes) -> Iterator[bytes]:
    """The packed streams of objects that newer files keep their pages in."""
    for match in _PACKED.finditer(pdf):
        try:
            yield zlib.decompressobj().decompress(memoryview(pdf)[match.end() :], _MOST_UNPACKED)
        except zlib.error:
            continue
