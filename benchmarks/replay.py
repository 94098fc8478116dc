"""A full audit of OTLP JSON lines, beside what general engines need only to parse them and sum tokens by session.

    python -m benchmarks.replay [--spans 200000] [--rounds 3]

Every engine runs in a process of its own. Imports are not timed (neither DuckDB's nor that of genai-prices), but what
replay then does is: start its workers, load the price lists. The goals: at most 1.5 times the time of the fastest
engine, and a peak of memory (all processes together) below 400 MB.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.support.bytecode import compile_package
from benchmarks.support.memory import PeakMemory
from benchmarks.support.provider import SPAWN
from budgeted_agents.traces.audit.scan import scan

GOAL_RATIO = 1.5
GOAL_MB = 400
SPANS_IN_A_SESSION = 20
MODELS = ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929")
SESSION, INPUT, OUTPUT = "gen_ai.conversation.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"

Sums = Mapping[str, int]
"""Tokens by session."""


def main() -> None:
    """Print spans a second and peak memory of each engine; leave with 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    compile_package()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spans.jsonl")
        write_spans(path, options.spans)
        print(f"{options.spans:,} spans, {path.stat().st_size / options.spans / 1000:.2f} KB each")
        best = {name: Measured() for name in ENGINES}
        for _ in range(options.rounds):
            for name, measured in best.items():
                measured.take(*_measure(name, path))
    sys.exit(_report(best, options.spans))


class Measured:
    """The best of several rounds of one engine."""

    def __init__(self) -> None:
        self.seconds = float("inf")
        self.megabytes = float("inf")
        self.total = 0

    def take(self, seconds: float, megabytes: float, total: int) -> None:
        """One round more: how long it took, the peak of memory, and the tokens it found."""
        self.seconds, self.megabytes = min(self.seconds, seconds), min(self.megabytes, megabytes)
        self.total = total


def _report(best: Mapping[str, Measured], spans: int) -> bool:
    """Print the results; returns whether a goal is missed."""
    ours = best["replay"]
    fastest = min((name for name in best if name != "replay"), key=lambda name: best[name].seconds)
    for name, measured in best.items():
        speed = spans / measured.seconds
        print(f"{name:10} {measured.seconds:8.2f} s {speed:10,.0f} spans/s {measured.megabytes:8.0f} MB")
    ratio = ours.seconds / best[fastest].seconds
    print(f"replay takes {ratio:.2f} x the time of {fastest} (goal: {GOAL_RATIO}), peak {ours.megabytes:.0f} MB")
    is_wrong = len({measured.total for measured in best.values()}) > 1
    if is_wrong:
        print("the engines disagree on the sum of tokens")
    return is_wrong or ratio > GOAL_RATIO or ours.megabytes > GOAL_MB


def _measure(name: str, path: Path) -> tuple[float, float, int]:
    """Seconds, megabytes and tokens of one run in a process of its own."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_run, args=(name, path, theirs))
    process.start()
    assert process.pid is not None
    with PeakMemory(process.pid) as memory:
        seconds, total = ours.recv()
    process.join()
    return seconds, memory.megabytes, total


def _run(name: str, path: Path, pipe: object) -> None:
    prepare, sums = ENGINES[name]
    prepare()
    start = time.perf_counter()
    found = sums(path)
    pipe.send((time.perf_counter() - start, sum(found.values())))  # type: ignore[attr-defined]


def write_spans(path: Path, count: int) -> None:
    """Spans of model calls as the instrumentation of a client writes them, one a line."""
    rng = random.Random(7)
    resource = {
        "attributes": [
            _pair("service.name", "research-agent"),
            _pair("telemetry.sdk.language", "python"),
            _pair("telemetry.sdk.name", "opentelemetry"),
            _pair("telemetry.sdk.version", "1.39.1"),
        ]
    }
    scope = {"name": "opentelemetry.instrumentation.openai_v2", "version": "2.1b0"}
    with path.open("w", encoding="utf-8") as file:
        for span in _spans(rng, count):
            scopes = [{"scope": scope, "spans": [span]}]
            line = {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _spans(rng: random.Random, count: int) -> Iterator[dict[str, object]]:
    trace = parent = ""
    for number in range(count):
        session = number // SPANS_IN_A_SESSION
        if number % SPANS_IN_A_SESSION == 0:
            trace, parent = f"{rng.getrandbits(128):032x}", f"{rng.getrandbits(64):016x}"
        start = 1_765_964_257_258_000_000 + number * 1_000_000
        model = rng.choice(MODELS)
        yield {
            "traceId": trace,
            "spanId": f"{rng.getrandbits(64):016x}",
            "parentSpanId": parent,
            "name": f"chat {model}",
            "kind": 3,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + rng.randrange(10**8, 10**10)),
            "attributes": [_pair(*each) for each in _attributes(rng, session, model).items()],
            "status": {},
        }


def _attributes(rng: random.Random, session: int, model: str) -> dict[str, object]:
    prompt = rng.randrange(200, 9000)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic" if model.startswith("claude") else "openai",
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
        "gen_ai.response.id": f"chatcmpl-{rng.getrandbits(96):024x}",
        SESSION: f"session-{session:06d}",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.response.finish_reasons": ["stop"],
        INPUT: prompt,
        OUTPUT: rng.randrange(5, 900),
        "gen_ai.usage.cache_read.input_tokens": prompt // 3 if rng.random() < 0.5 else 0,
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.agent.name": f"agent-{rng.randrange(5)}",
        "user.id": f"user-{session % 50}",
    }


def _pair(key: str, value: object) -> dict[str, object]:
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    if isinstance(value, list):
        return {"key": key, "value": {"arrayValue": {"values": [{"stringValue": each} for each in value]}}}
    return {"key": key, "value": {"stringValue": value}}


def _replay(path: Path) -> Sums:
    audit = scan([path]).audit
    return {name: session.input + session.output for name, session in audit.sessions.items()}


def _duckdb(path: Path) -> Sums:
    import duckdb

    pair = "STRUCT(key VARCHAR, value STRUCT(stringValue VARCHAR, intValue BIGINT))"
    columns = f"STRUCT(scopeSpans STRUCT(spans STRUCT(attributes {pair}[])[])[])[]"
    rows = (
        duckdb.connect()
        .execute(
            f"""
        WITH resources AS (SELECT unnest(resourceSpans) AS r FROM
                           read_json($path, format = 'newline_delimited', columns = {{resourceSpans: '{columns}'}})),
             scopes AS (SELECT unnest(r.scopeSpans) AS s FROM resources),
             spans AS (SELECT unnest(s.spans).attributes AS a FROM scopes)
        SELECT list_filter(a, lambda p: p.key = '{SESSION}')[1].value.stringValue AS session,
               sum(list_filter(a, lambda p: p.key = '{INPUT}')[1].value.intValue
                 + list_filter(a, lambda p: p.key = '{OUTPUT}')[1].value.intValue)
        FROM spans GROUP BY session
        """,
            {"path": str(path)},
        )
        .fetchall()
    )
    return {session: int(tokens) for session, tokens in rows}


def _polars(path: Path) -> Sums:
    import polars as pl

    def attribute(name: str, field: str) -> pl.Expr:
        value = pl.element().filter(pl.element().struct.field("key") == name).struct.field("value")
        return pl.col("attributes").list.eval(value.struct.field(field)).list.first()

    value = pl.Struct({"stringValue": pl.String, "intValue": pl.String})
    spans = pl.List(pl.Struct({"attributes": pl.List(pl.Struct({"key": pl.String, "value": value}))}))
    schema = {"resourceSpans": pl.List(pl.Struct({"scopeSpans": pl.List(pl.Struct({"spans": spans}))}))}
    frame = pl.scan_ndjson(path, schema=schema)
    for outer, inner in (("resourceSpans", "scopeSpans"), ("scopeSpans", "spans"), ("spans", "attributes")):
        frame = frame.explode(outer).select(pl.col(outer).struct.field(inner))
    tokens = attribute(INPUT, "intValue").cast(pl.Int64) + attribute(OUTPUT, "intValue").cast(pl.Int64)
    named = frame.select(session=attribute(SESSION, "stringValue"), tokens=tokens)
    return dict(named.group_by("session").agg(pl.col("tokens").sum()).collect(engine="streaming").iter_rows())


def _orjson(path: Path) -> Sums:
    import orjson

    sums: dict[str, int] = {}
    with path.open("rb") as file:
        for line in file:
            for resource in orjson.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        values = {pair["key"]: pair["value"] for pair in span["attributes"]}
                        session = values[SESSION]["stringValue"]
                        tokens = int(values[INPUT]["intValue"]) + int(values[OUTPUT]["intValue"])
                        sums[session] = sums.get(session, 0) + tokens
    return sums


def _msgspec(path: Path) -> Sums:
    from benchmarks.support.spans import decode_line

    sums: dict[str, int] = {}
    with path.open("rb") as file:
        for line in file:
            for resource in decode_line(line).resourceSpans:
                for scope in resource.scopeSpans:
                    for span in scope.spans:
                        values = {pair.key: pair.value for pair in span.attributes}
                        tokens = (values[INPUT].intValue or 0) + (values[OUTPUT].intValue or 0)
                        session = values[SESSION].stringValue or ""
                        sums[session] = sums.get(session, 0) + tokens
    return sums


def _import(*names: str) -> Callable[[], None]:
    def prepare() -> None:
        for name in names:
            __import__(name)

    return prepare


ENGINES: Mapping[str, tuple[Callable[[], None], Callable[[Path], Sums]]] = {
    "replay": (_import("genai_prices.data_snapshot", "genai_prices.data"), _replay),
    "duckdb": (_import("duckdb"), _duckdb),
    "polars": (_import("polars"), _polars),
    "msgspec": (_import("benchmarks.support.spans"), _msgspec),
    "orjson": (_import("orjson"), _orjson),
}
"""What to import before the clock starts, and how to sum."""


if __name__ == "__main__":
    main()
