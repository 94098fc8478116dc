"""A folder of text documents: search in its passages (BM25), read sections. Nothing outside the folder is reached."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

SUFFIXES = frozenset({".md", ".rst", ".txt"})
MAX_FILE_BYTES = 2_000_000
MAX_LINES = 80
MAX_CHARACTERS = 8_000
_PASSAGE_CHARACTERS = 800
_K1, _B = 1.5, 0.75  # the usual constants of BM25 (Robertson and Zaragoza, 2009)
_WORD = re.compile(r"\w+")


class DocumentError(ValueError):
    """A document that is not there or must not be read; the message is fit for a model to read."""


@dataclass(frozen=True)
class Passage:
    """Some consecutive lines of a file; ``line`` is the first one's number, from 1."""

    file: str
    line: int
    text: str


class Documents:
    """The documents of a folder, indexed once.

    Args:
        folder: holds ``.md``, ``.rst`` and ``.txt`` files, in subfolders too. Larger ones than 2 MB, hidden ones, and
            links that lead outside are left out.

    Raises:
        DocumentError: if the folder is none.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DocumentError(f"{folder} is not a folder")
        self._root = folder.resolve()
        self._passages = [passage for file in self._files() for passage in _passages(self._name(file), _text(file))]
        self._counts = [Counter(_terms(passage.text)) for passage in self._passages]
        self._lengths = [counts.total() for counts in self._counts]
        self._average_length = sum(self._lengths) / max(1, len(self._lengths))
        self._occurrences = Counter(term for counts in self._counts for term in counts)

    @property
    def files(self) -> list[str]:
        """The names of all files, relative to the folder."""
        return [self._name(file) for file in self._files()]

    def search(self, query: str, limit: int = 5) -> list[Passage]:
        """The passages that match the query best, best first; none that shares no word with it."""
        terms = set(_terms(query))
        scores = [(self._score(terms, index), -index) for index in range(len(self._passages))]
        best = sorted((score for score in scores if score[0] > 0), reverse=True)
        hits = (self._passages[-place] for _, place in best[:limit])
        return [replace(hit, text=hit.text[:MAX_CHARACTERS]) for hit in hits]

    def read(self, file: str, start_line: int = 1, lines: int = MAX_LINES) -> Passage:
        """At most 80 lines, or 8,000 characters, of a file.

        Raises:
            DocumentError: if there is no such file in the folder, or no such line in the file.
        """
        text = _text(self._path(file)).splitlines()
        if not 1 <= start_line <= max(1, len(text)):
            raise DocumentError(f"{file} has lines 1 to {len(text)}, not {start_line}")
        section = text[start_line - 1 : start_line - 1 + max(1, min(lines, MAX_LINES))]
        return Passage(file, start_line, "\n".join(section)[:MAX_CHARACTERS])

    def _files(self) -> list[Path]:
        return sorted(path for path in self._root.rglob("*") if self._is_readable(path))

    def _is_readable(self, path: Path) -> bool:
        """Whether it is a document that truly lies in the folder, links resolved."""
        if path.suffix not in SUFFIXES or any(part.startswith(".") for part in self._name(path).split("/")):
            return False
        try:
            real = path.resolve()
            return real.is_relative_to(self._root) and real.is_file() and real.stat().st_size <= MAX_FILE_BYTES
        except (OSError, RuntimeError, ValueError):  # names too long, links in a circle, null characters
            return False

    def _path(self, file: str) -> Path:
        """The path of a file named by a model, which may name anything."""
        path = self._root / file
        if ".." in Path(file).parts or not path.is_relative_to(self._root) or not self._is_readable(path):
            raise DocumentError(f"There is no document {file!r} here. Use a file name from the search results.")
        return path

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _score(self, terms: set[str], index: int) -> float:
        counts, length = self._counts[index], self._lengths[index]
        norm = _K1 * (1 - _B + _B * length / self._average_length) if self._average_length else _K1
        return sum(
            self._rarity(term) * counts[term] * (_K1 + 1) / (counts[term] + norm) for term in terms if term in counts
        )

    def _rarity(self, term: str) -> float:
        occurrences = self._occurrences[term]
        return math.log(1 + (len(self._passages) - occurrences + 0.5) / (occurrences + 0.5))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _passages(file: str, text: str) -> Iterator[Passage]:
    """Cuts a text into passages: at headings, at blank lines after 800 characters, at any line after 1,600."""
    first, block = 1, ""
    for number, line in enumerate(text.splitlines(), start=1):
        is_full = len(block) >= _PASSAGE_CHARACTERS * (2 if line.strip() else 1)
        if block and (is_full or line.startswith("#")):
            yield Passage(file, first, block.strip())
            first, block = number, ""
        block += f"{line}\n"
    if block.strip():
        yield Passage(file, first, block.strip())


def _terms(text: str) -> list[str]:
    """Words in lower case, a plural's s cut off."""
    words = (word.lower() for word in _WORD.findall(text))
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words]
