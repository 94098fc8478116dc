"""Files that somebody's crash, bug or malice could leave. Most stand between two good calls."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import zstandard

from tests.traces.formats.otlp_lines import chat, line, request

GOOD = line(chat("a" * 16)), line(chat("b" * 16))
HUGE = 10**400
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Case:
    """A hostile file.

    Attributes:
        content: its bytes.
        name: its name.
        calls: how many calls of it count.
        is_told: whether a problem says that something is wrong.
    """

    content: bytes
    calls: int | None = 2
    is_told: bool = True
    name: str = "hostile.jsonl"


def between(*hostile: bytes) -> bytes:
    """The good calls with lines between them."""
    return GOOD[0] + b"".join(hostile) + GOOD[1]


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass") + b"\n"


def replaced(field: str, value: Any) -> bytes:
    """A call with one field of its span replaced."""
    return line({**chat("c" * 16), field: value})


def attribute(pair: Any) -> bytes:
    """A call with one attribute more, as it is."""
    bad = chat("c" * 16)
    return line({**bad, "attributes": [*bad["attributes"], pair]})


def tokens(value: Any) -> bytes:
    """A call whose input tokens are this value, in OTLP's notation."""
    bad = chat("c" * 16, without="gen_ai.usage.input_tokens")
    pair = {"key": "gen_ai.usage.input_tokens", "value": value}
    return line({**bad, "attributes": [*bad["attributes"], pair]})


def nested(opening: str, closing: str, depth: int = 100_000) -> str:
    return opening * depth + closing * depth


WRONG: Mapping[str, Any] = {
    "null": None,
    "boolean": True,
    "negative": -1,
    "huge": HUGE,
    "fraction": 1.5,
    "list": [1, [2]],
    "mapping": {"a": {"b": 1}},
    "word": "word",
}
"""Values of every type."""

FIELDS = ("traceId", "spanId", "parentSpanId", "name", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status")


def wrong_fields() -> Iterator[tuple[str, Case]]:
    """Each field of a span with values of each type: the span may lose the field, never the file a call."""
    for field in FIELDS:
        for kind, value in WRONG.items():
            yield f"{field} is {kind}", Case(between(replaced(field, value)), calls=None, is_told=False)


def wrong_envelopes() -> Iterator[tuple[str, Case]]:
    """What stands around spans, with values of each type."""
    for kind, value in WRONG.items():
        yield f"resourceSpans is {kind}", Case(between(raw(json.dumps({"resourceSpans": value}))))
        scopes = {"resourceSpans": [{"scopeSpans": value}]}
        yield f"scopeSpans is {kind}", Case(between(raw(json.dumps(scopes))), is_told=kind != "null")
        yield f"a span is {kind}", Case(between(line(value)), is_told=False, calls=None)
        yield f"an attribute is {kind}", Case(between(attribute(value)), calls=3)
        yield (
            f"an attribute's value is {kind}",
            Case(between(attribute({"key": "k", "value": value})), calls=3, is_told=False),
        )
        yield (
            f"a text is {kind}",
            Case(between(attribute({"key": "user.id", "value": {"stringValue": value}})), calls=3, is_told=False),
        )
        resource = request(chat("c" * 16))
        resource["resourceSpans"][0]["resource"] = value
        yield f"a resource is {kind}", Case(between(raw(json.dumps(resource))), calls=3, is_told=False)


TOKENS: Mapping[str, tuple[Any, int]] = {
    "negative": ({"intValue": "-5"}, 2),
    "negative number": ({"intValue": -5}, 2),
    "negative fraction": ({"doubleValue": -0.5}, 2),
    "boolean": ({"boolValue": True}, 2),
    "boolean as integer": ({"intValue": True}, 3),
    "huge": ({"intValue": str(HUGE)}, 2),
    "huge number": ({"intValue": HUGE}, 2),
    "one too many": ({"intValue": "1000000001"}, 2),
    "fraction": ({"doubleValue": 7.5}, 2),
    "word": ({"stringValue": "many"}, 2),
    "not a number": ({"doubleValue": "NaN"}, 2),
    "infinite": ({"doubleValue": "Infinity"}, 2),
    "list": ({"arrayValue": {"values": [{"intValue": "5"}]}}, 2),
    "other digits": ({"stringValue": "\u0661\u0662"}, 3),
    "nothing": ({}, 2),
}
"""Token counts that are none, and how many calls count then."""

COSTS: Mapping[str, Any] = {
    "negative": -0.5,
    "word": "free",
    "not a number": "NaN",
    "infinite": "Infinity",
    "huge": "1e400",
    "boolean": True,
}


def wrong_numbers() -> Iterator[tuple[str, Case]]:
    """Tokens, costs and times that make no sense."""
    for kind, (value, calls) in TOKENS.items():
        yield f"tokens are {kind}", Case(between(tokens(value)), calls=calls, is_told=kind != "other digits")
    for kind, cost in COSTS.items():
        yield f"a cost is {kind}", Case(between(line(chat("c" * 16, gen_ai__usage__cost=cost))), calls=3)
    for kind, time in {"far": 10**30, "negative": -5, "seconds": 5}.items():
        bad = {**chat("c" * 16), "startTimeUnixNano": time, "endTimeUnixNano": 1}
        yield f"a time is {kind}", Case(between(line(bad)), calls=3)
    for word in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400"):
        text = line(chat("c" * 16, gen_ai__usage__cost=0.25)).decode().replace("0.25", word)
        yield f"{word} in JSON", Case(between(text.encode()), calls=3)


def damaged_lines() -> Iterator[tuple[str, Case]]:
    """Lines that are no JSON, or not what JSON should be."""
    good = line(chat("c" * 16)).decode().strip()
    yield "a cut-off line", Case(between(raw(good[:-40])))
    yield "a cut-off last line", Case(between() + good[:-40].encode())
    yield "two records on a line", Case(between(raw(good + good.replace("c" * 16, "d" * 16))), calls=4, is_told=False)
    yield "a cut-off record before another one", Case(between(raw(good[:-40] + good)), calls=3)
    yield "nothing but beginnings", Case(between(raw('{"resourceSpans"' * 100_000)))
    yield "a deep list", Case(between(raw(nested("[", "]"))))
    yield "a deep mapping", Case(between(raw(nested('{"a":', "}").replace("}", "1}", 1))))
    yield "deep in a span", Case(between(raw(good.replace('"status": {}', '"x": ' + nested("[", "]")))), calls=None)
    yield (
        "deep in a value",
        Case(between(raw(good.replace('{"stringValue": "chat"}', nested('{"a":', "}")))), calls=None),
    )
    yield "a lone surrogate", Case(between(raw(good.replace("conversation-1", "\\ud800x"))), calls=3, is_told=False)
    yield "a raw surrogate", Case(between(raw(good.replace("conversation-1", "\ud800x"))), calls=3)
    yield (
        "a control character",
        Case(between(raw(good.replace("conversation-1", "a\x01\x1b[2Jb"))), calls=3, is_told=False),
    )
    yield "NUL in a text", Case(between(raw(good.replace("conversation-1", "a\0b"))), calls=3, is_told=False)
    yield "NUL between lines", Case(between(b"\0" * 5000 + b"\n"), is_told=False)
    yield "NUL at the end", Case(between() + b"\0" * 5000, is_told=False)
    yield (
        "duplicate keys",
        Case(between(raw(good.replace('"name"', '"spanId": "x", "name"', 1))), calls=3, is_told=False),
    )
    yield "an empty object", Case(between(b"{}\n"))
    yield "a number", Case(between(b"5\n"))
    yield "single quotes", Case(between(raw(good.replace('"', "'"))))
    yield "a comment", Case(between(b"// spans\n"))
    yield "a long number", Case(between(raw('{"a": ' + "9" * 100_000 + "}")))
    yield "a long key", Case(between(raw('{"' + "k" * MEGABYTE + '": 1}')))
    yield "many keys", Case(between(raw(json.dumps({str(number): number for number in range(50_000)}))))
    yield "random bytes", Case(between(random.Random(1).randbytes(20_000) + b"\n"), calls=None)


def odd_traces() -> Iterator[tuple[str, Case]]:
    """Spans that contradict each other."""
    again = line(chat("c" * 16))
    no_kind = {"without": "gen_ai.operation.name"}
    circle = [line(chat("c" * 16, "d" * 16, **no_kind)), line(chat("d" * 16, "c" * 16, **no_kind))]
    yield "the same span twice", Case(between(again, again), calls=3, is_told=False)
    yield "the same span a hundred times", Case(between(*[again] * 100), calls=3, is_told=False)
    yield "an orphan", Case(between(line(chat("c" * 16, "e" * 16))), calls=3, is_told=False)
    yield "its own parent", Case(between(line(chat("c" * 16, "c" * 16))), calls=3, is_told=False)
    yield "parents in a circle", Case(between(*circle), calls=3)
    yield "no ids", Case(between(line(chat("", "", "")), line(chat("", "", ""))), calls=4)
    yield "ids of other lengths", Case(between(line(chat("zz", "\u00e4", "x" * 5000))), calls=3, is_told=False)
    yield "no attributes", Case(between(line({"traceId": "t", "spanId": "s"})), is_told=False)
    yield "ends before it starts", Case(between(line({**chat("c" * 16), "endTimeUnixNano": "5"})), calls=3)
    yield "other signals", Case(between(b'{"resourceLogs": []}\n', b'{"resourceMetrics": []}\n'))
    yield (
        "many attributes",
        Case(between(line(chat("c" * 16, **{f"k{n}": n for n in range(20_000)}))), calls=3, is_told=False),
    )


def odd_encodings() -> Iterator[tuple[str, Case]]:
    """Text in other encodings than UTF-8."""
    latin = line(chat("c" * 16)).replace(b"conversation-1", b"caf\xe9")
    text = between(line(chat("c" * 16))).decode()
    yield "Latin-1 on one line", Case(between(latin), calls=3)
    yield "a byte order mark", Case(codecs.BOM_UTF8 + text.encode(), calls=3, is_told=False)
    for name in ("utf-16", "utf-16-le", "utf-16-be"):
        yield name, Case(text.encode(name), calls=3, is_told=False)
    yield "UTF-16, cut off within a character", Case(text.encode("utf-16")[:-3], calls=None, is_told=False)
    yield "carriage returns", Case(text.replace("\n", "\r\n").encode(), calls=3, is_told=False)
    yield "overlong UTF-8", Case(between(b'{"a": "\xc0\x80"}\n'))


def packed() -> Iterator[tuple[str, Case]]:
    """Files that unpack badly."""
    text = between(line(chat("c" * 16)))
    noise = text + b"".join(line(chat(f"{n:016x}")) for n in random.Random(2).sample(range(10**15), 500))
    whole, frame = gzip.compress(noise), zstandard.compress(noise)
    yield "gzip, cut off", Case(whole[: len(whole) // 2], calls=None)
    yield "gzip, last byte missing", Case(whole[:-1], calls=503)
    yield "gzip, damaged", Case(whole[:5000] + b"\0" * 50 + whole[5050:], calls=None)
    yield "gzip, only its header", Case(whole[:10], calls=0)
    yield "gzip, then something else", Case(whole + b"hello", calls=503)
    yield "zstd, cut off", Case(frame[: len(frame) // 2], calls=None)
    yield "zstd, damaged", Case(frame[:500] + b"\0" * 500 + frame[1000:], calls=None)
    yield "zstd, only its magic", Case(frame[:4], calls=0)
    yield "zip, damaged", Case(b"PK\x03\x04" + bytes(500), calls=0)
    yield "zip, cut off", Case(archive(text)[:-30], calls=0)
    yield "zip in a zip", Case(archive(archive(text)), calls=0, name="hostile.zip")
    yield "zip with a path that climbs", Case(archive(text, "../../up.jsonl"), calls=3, is_told=False)
    yield "lengths, cut off", Case(prefixed(line(chat("c" * 16))) + prefixed(line(chat("d" * 16)))[:-5], calls=1)
    yield "lengths that lie", Case(prefixed(line(chat("c" * 16))) + b"\xff\xff\xff\xff" + b"x" * 100, calls=1)
    yield "lengths, then no protobuf", Case(prefixed(b"\x0a\xff\xff\xff\xff\xff"), calls=0)
    yield "an empty file", Case(b"", calls=0)
    yield "only blank lines", Case(b"\n \n\t\n" * 100, calls=0)
    yield "another format", Case(b"\x89PNG\r\n\x1a\n" + bytes(1000), calls=0)


def _circle(size: int) -> Iterator[bytes]:
    for number in range(size):
        yield line(chat(f"{number:016x}", f"{(number + 1) % size:016x}", without="gen_ai.operation.name"))


def _chain(size: int) -> Iterator[bytes]:
    for number in range(1, size + 1):
        yield line(chat(f"{number:016x}", f"{number + 1:016x}", without="gen_ai.operation.name"))


def _many_members(count: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for number in range(count):
            made.writestr(f"{number}.txt", b"")
    return buffer.getvalue()


def archive(content: bytes, name: str = "spans.jsonl") -> bytes:
    """A zip archive of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, content)
    return buffer.getvalue()


def prefixed(message: bytes) -> bytes:
    """A message with its length before it."""
    return len(message).to_bytes(4, "big") + message


HEAVY: Mapping[str, Callable[[], Case]] = {
    "a gzip bomb": lambda: Case(gzip.compress(bytes(150 * MEGABYTE), 1), calls=0),
    "a gzip bomb of lines": lambda: Case(gzip.compress(GOOD[0] * (80 * MEGABYTE // len(GOOD[0])), 9), calls=1),
    "a zstd bomb": lambda: Case(zstandard.compress(bytes(150 * MEGABYTE)), calls=0),
    "a zip bomb": lambda: Case(archive(bytes(150 * MEGABYTE), "bomb.jsonl"), calls=0),
    "a zstd window of gigabytes": lambda: Case(b"\x28\xb5\x2f\xfd\x00" + b"\xb8" + bytes(50), calls=0),
    "a line of 40 MiB": lambda: Case(between(b'{"resourceSpans": "' + b"x" * (40 * MEGABYTE) + b'"}\n')),
    "no line end at all": lambda: Case(b'{"resourceSpans": [' + b" " * (60 * MEGABYTE), calls=0),
    "a document of 140 MiB": lambda: Case(b'[{"resourceSpans": [' + b" " * (140 * MEGABYTE) + b"]}]", calls=0),
    "a list of lists": lambda: Case(between(b'{"resourceSpans": [' + b"[]," * 4_000_000 + b"[]]}\n")),
    "a line of numbers": lambda: Case(between(b"[" + b"1," * 5_000_000 + b"1]\n")),
    "a deep line": lambda: Case(between(b"[" * (15 * MEGABYTE) + b"\n")),
    "a million blank lines": lambda: Case(between(b"\n" * 1_000_000), is_told=False),
    "a hundred thousand bad lines": lambda: Case(between(b"{bad}\n" * 100_000)),
    "a circle of ten thousand": lambda: Case(between(*_circle(10_000)), calls=3),
    "a chain of ten thousand": lambda: Case(between(*_chain(10_000)), calls=3, is_told=False),
    "many members": lambda: Case(_many_members(20_000), calls=0, is_told=False),
}
"""Files that try to take all memory or time, made when they are needed."""


def _all(*makers: Callable[[], Iterator[tuple[str, Case]]]) -> dict[str, Case]:
    return {name: case for maker in makers for name, case in maker()}


CASES = _all(wrong_fields, wrong_envelopes, wrong_numbers, damaged_lines, odd_traces, odd_encodings, packed)
"""Files that are small."""
