"""What a call says, as span attributes of the GenAI conventions: for recorders that were asked to keep it, nobody else.

Content is no part of a record, so neither the ledger nor a report can get at it. As JSON it is brought under a limit
without being broken: long texts are cut, and what does not fit beside more important things is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import orjson

SYSTEM, INPUT, OUTPUT = "gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"
ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"
CUT = "budget.content.cut"
"""Names the attributes that are not whole."""

NAMES = frozenset({SYSTEM, INPUT, OUTPUT, ARGUMENTS, RESULT})
"""The attributes that hold content."""

LIMIT = 64 * 1024
"""Bytes of one attribute. A span has up to three; a journal's line holds them even where every character is escaped."""

_SHORTEST = 16
"""Characters: a text is not cut shorter than this."""

_ELLIPSIS = "…"


class Content(Protocol):
    """What one call says. Its text, should somebody print it, is none of that."""

    def answered(self, answer: Any, *, whole: bool = True) -> None:
        """What the model or the tool gave back; ``whole`` says whether that is all of it."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes that hold it. This never fails: what cannot be written down is missing, and named as cut."""


class Written:
    """Attributes with content, as they are put together.

    Args:
        limit: bytes of one attribute.

    Attributes:
        attributes: what there is so far.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.attributes: dict[str, Any] = {}
        self._limit = limit

    def add_list(self, name: str, items: Iterable[Any], *, newest_first: bool = False) -> None:
        """A list of JSON values. Of one that is too long the first are kept, and the last of these is cut.

        Args:
            name: of the attribute.
            items: the values; no more of them are asked for than there is room for.
            newest_first: whether they come in the opposite of the order they are to be written in.
        """
        texts, is_whole = _fitting(map(as_json, items), self._limit - len("[]"))
        if texts:
            listed = b",".join(reversed(texts) if newest_first else texts)
            self.attributes[name] = f"[{listed.decode()}]"
        if not is_whole:
            self._cut(name)

    def add_value(self, name: str, value: Any) -> None:
        """A text as it is; anything else as JSON."""
        try:
            text = _encoded(value) if isinstance(value, str) else as_json(value)
            if is_long := len(text) > self._limit:
                text = _beginning(text, self._limit) if isinstance(value, str) else _shortened(text, self._limit)
        except Exception:  # noqa: BLE001 -- what strangers hand over may fail in any way, and must not cost the record
            text, is_long = b"", True
        if text:
            self.attributes[name] = text.decode()
        if is_long:
            self._cut(name)

    def _cut(self, name: str) -> None:
        self.attributes[CUT] = (*self.attributes.get(CUT, ()), name)


def as_json(value: Any) -> bytes:
    """A value as JSON. What JSON has no form for is written as the text that Python has for it; a number that is none
    as null."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a character, or a number of more than 64 bits
        plain = json.loads(json.dumps(value, default=str, skipkeys=True), parse_constant=_null)
        return _encoded(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))


def _null(constant: str) -> None:
    """What stands for NaN and the infinities."""


def _fitting(items: Iterator[bytes], room: int) -> tuple[list[bytes], bool]:
    """The first of these texts of JSON, as many as there is room for with commas between them; and whether that is all
    there was. One that cannot be had is passed over."""
    texts: list[bytes] = []
    is_whole = True
    while True:
        try:
            text = next(items)
        except StopIteration:
            return texts, is_whole
        except Exception:  # noqa: BLE001 -- likewise
            is_whole = False
            continue
        if len(text) > room:
            shortened = _shortened(text, room)
            return texts + ([shortened] if shortened else []), False
        texts.append(text)
        room -= len(text) + len(",")


def _shortened(text: bytes, room: int) -> bytes:
    """JSON whose texts are cut so that it fits; nothing if too little would be left of them."""
    value, longest = json.loads(text), room
    while longest >= _SHORTEST:
        text = as_json(_with_texts_up_to(longest, value))
        if len(text) <= room:
            return text
        longest //= 2
    return b""


def _with_texts_up_to(longest: int, value: Any) -> Any:
    """JSON with its texts cut. Data in base64 is left out instead: a part of an image is none."""
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + _ELLIPSIS
    if isinstance(value, list):
        return [_with_texts_up_to(longest, each) for each in value]
    if not isinstance(value, dict):
        return value
    cut = {name: _with_texts_up_to(longest, each) for name, each in value.items()}
    if value.get("type") == "blob" and cut.get("content") != value.get("content"):
        cut["content"] = ""
    return cut


def _beginning(text: bytes, size: int) -> bytes:
    return _encoded(text[: size - len(_encoded(_ELLIPSIS))].decode("utf-8", "ignore") + _ELLIPSIS)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
