"""How many tokens a text has, counted without any network.

OpenAI's vocabularies are read from disk: from the user's own tiktoken cache (``TIKTOKEN_CACHE_DIR``) if it has them,
else from the copies that come with litellm, which is located but not imported. If neither is there, a text counts as
many tokens as it has UTF-8 bytes: no byte-level tokenizer makes more.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1, sha256
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from types import FunctionType
from typing import Any

O200K = "o200k_base"
CL100K = "cl100k_base"
ENCODINGS = (O200K, CL100K)

LONGEST_PIECE = 32_768
"""Characters given to tiktoken at once. Its time grows faster than a text without spaces, and a run of a million blanks
overflows its stack."""

Encode = Callable[[str], list[int]]

_O200K_MODELS = re.compile(r"(?:^|[/:.])(?:gpt-4o|gpt-4\.1|gpt-4\.5|gpt-[5-9]|gpt-oss|chatgpt-|o[1-9](?:-|$))")
_CL100K_MODELS = re.compile(r"(?:^|[/:.])(?:gpt-4|gpt-3\.5|gpt-35)(?:-|$)")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """How the texts of one model are counted.

    Attributes:
        encoding: the vocabulary used, one of ``ENCODINGS``.
        exact: whether that is the model's own vocabulary. If not, ``count`` adds half a token for every byte beyond one
            that a character takes: o200k is unusually good at non-Latin scripts, and the vocabularies of other
            providers need up to three times its tokens there (Hindi, Arabic, Russian, Korean), but hardly more in
            English, code or JSON.
    """

    encoding: str
    exact: bool

    def count(self, text: str) -> int:
        """Tokens of a text."""
        tokens = count_text(text, self.encoding)
        if self.exact or text.isascii():
            return tokens
        return min(tokens + (_utf8_length(text) - len(text)) // 2, _utf8_length(text))


@lru_cache(maxsize=4096)
def tokenizer_for(model: str) -> Tokenizer:
    """The tokenizer for a model, whatever provider prefix its name has (``azure/gpt-4o``, ``ft:gpt-4o:acme``)."""
    name = model.lower()
    if _O200K_MODELS.search(name):
        return Tokenizer(O200K, exact=True)
    if _CL100K_MODELS.search(name):
        return Tokenizer(CL100K, exact=True)
    return Tokenizer(O200K, exact=False)


def count_text(text: str, encoding: str = O200K) -> int:
    """Tokens of a text, special tokens counted as plain text; UTF-8 bytes if the vocabulary is not at hand.

    Equal to tiktoken's count, except that every ``LONGEST_PIECE`` characters without a space between words may count a
    token or two more. The time taken grows with the length, whatever the text.
    """
    encode = _vocabularies.get(encoding)
    if encode is None:
        return _utf8_length(text)
    if len(text) <= LONGEST_PIECE:
        return len(encode(text))
    return sum(len(encode(piece)) + forced for piece, forced in _pieces(text))


def is_counted(encoding: str) -> bool:
    """Whether the vocabulary is at hand; if not, counts are UTF-8 bytes, an upper bound about four times too high."""
    return _vocabularies.get(encoding) is not None


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces of at most ``LONGEST_PIECE`` characters, and whether the cut after it was forced.

    Cut before a single space between letters: there the encodings cut as well, so that the counts add up.
    """
    start = 0
    while len(text) - start > LONGEST_PIECE:
        end = start + LONGEST_PIECE
        space = _last_word_start(text, start, end)
        yield text[start : space or end], space is None
        start = space or end
    yield text[start:], False


def _last_word_start(text: str, start: int, end: int) -> int | None:
    """Where the last single space between letters stands, looking at the end of ``text[start:end]`` only."""
    found = None
    for match in _WORD_START.finditer(text, max(start + 1, end - 1024), end):
        found = match.start()
    return found


_WORD_START = re.compile(r"(?<=[^\W\d_]) (?=[^\W\d_])")


def _utf8_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


class _Vocabularies:
    """Encoders by name, each read from disk on first use and once in a process."""

    def __init__(self) -> None:
        self._encoders: dict[str, Encode | None] = {}
        self._lock = Lock()

    def get(self, encoding: str) -> Encode | None:
        """The encoder, or None if its vocabulary is not on disk."""
        try:
            return self._encoders[encoding]
        except KeyError:
            with self._lock:
                if encoding not in self._encoders:
                    self._encoders[encoding] = _load(encoding)
                return self._encoders[encoding]


_vocabularies = _Vocabularies()


class _NotOnDisk(Exception):
    """No folder has the vocabulary."""


def _load(encoding: str) -> Encode | None:
    """tiktoken's own definition of an encoding, built from ranks on disk.

    tiktoken defines an encoding (pattern, special tokens) and downloads its ranks in one function. A copy of that
    function is given a loader that reads the disk only; tiktoken itself stays as it is.
    """
    from tiktoken import Encoding
    from tiktoken_ext import openai_public

    define: FunctionType = openai_public.ENCODING_CONSTRUCTORS[encoding]
    if "load_tiktoken_bpe" not in define.__code__.co_names:
        return None  # a tiktoken that loads in another way: counting bytes is safe, a download is not
    offline = FunctionType(define.__code__, {**define.__globals__, "load_tiktoken_bpe": _ranks_on_disk})
    try:
        definition: dict[str, Any] = offline()
    except _NotOnDisk:
        return None
    return Encoding(**definition).encode_ordinary


def _ranks_on_disk(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
    """Ranks by token, from the first folder that has the file under the name tiktoken caches it by."""
    name = sha1(url.encode(), usedforsecurity=False).hexdigest()
    for folder in _folders():
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        if expected_hash is None or sha256(content).hexdigest() == expected_hash:
            return {b64decode(token): int(rank) for token, rank in map(bytes.split, content.splitlines())}
    raise _NotOnDisk(url)


def _folders() -> Iterator[Path]:
    """Where vocabularies may lie, best first."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if own := os.environ.get(variable):
            yield Path(own)
    litellm = find_spec("litellm")  # locates the package; does not import it
    for location in (litellm.submodule_search_locations if litellm else None) or ():
        yield Path(location, "litellm_core_utils", "tokenizers")
