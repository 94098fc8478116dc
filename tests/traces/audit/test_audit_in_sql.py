"""The same audit by an engine: calls out to Parquet, the shipped SQL over them, the same figures and verdicts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import DatedPrices, PriceBook
from budgeted_agents.traces.audit.audit import Audit
from budgeted_agents.traces.audit.export import audit_sql, write_parquet
from budgeted_agents.traces.audit.sessions import conclude
from budgeted_agents.traces.audit.verdicts import VERDICTS
from budgeted_agents.traces.call import CLIENT_CACHE_HIT, ESTIMATED, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.usage import Usage
from tests.traces.audit.rows import CLAUDE

HALF = {
    "input_cost_per_token": "0.0000025",
    "output_cost_per_token": "0.00001",
    "cache_read_input_token_cost": "0.00000125",
}
LARGE = CLAUDE | {"provider_specific_entry": {"us": "1.1"}}
PRICES = DatedPrices(PriceBook({"large": LARGE, "half": HALF, "small": {"input_cost_per_token": "1e-7"}}))
LOGGED = PriceBook({"m": CLAUDE | {"input_cost_per_token": "0.00000231"}}).price("m")


def recorded(draw: random.Random, way: str, usage: Usage, model: str) -> Decimal | None:
    """A recorded cost, wrong in one way."""
    price = LOGGED if way == "logged" else PRICES.on(0, model)
    if price is None or way == "missing":
        return None if draw.random() < 0.5 else Decimal("0.01")
    right = Decimal(price.exact_cost(usage)).scaleb(-18)
    cached = draw.randint(0, usage.input)
    short = Usage(usage.input, usage.cache_read, usage.cache_write_5m + usage.cache_write_1h, 0, output=usage.output)
    read = Usage(usage.input - cached, usage.cache_read + cached, usage.cache_write_5m, usage.cache_write_1h)
    ways = {
        "exact": right,
        "logged": right,
        "cut": right.quantize(Decimal("1e-4")),
        "ttl": Decimal(price.exact_cost(short)).scaleb(-18),
        "cache": Decimal(price.exact_cost(read) + usage.output * price.rates().output).scaleb(-18),
        "ratio": right * 5 / 3,
        "flat": Decimal(usage.total_tokens) / 10**6,
        "zero": Decimal(0),
        "odd": right * Decimal(draw.randint(1000, 3000)) / 1789,
        "absurd": Decimal("1e20"),
    }
    return ways[way]


WAYS = ("exact", "exact", "cut", "ttl", "cache", "logged", "ratio", "flat", "zero", "odd", "absurd", "missing")


def session_of(draw: random.Random, number: int) -> Iterator[TracedCall]:
    way = draw.choice(WAYS)
    kinds = draw.choice([["model"], ["model", "embedding"], ["statement"], ["model", "statement"]])
    for index in range(draw.randint(1, 5)):
        kind: Any = draw.choice(kinds)
        is_mixed = draw.random() < 0.1
        usage = Usage(
            draw.choice([0, draw.randint(1, 5000), 300_000]),
            draw.choice([0, draw.randint(1, 3000)]),
            draw.choice([0, draw.randint(1, 3000)]),
            draw.choice([0, draw.randint(1, 3000)]),
            output=draw.randint(0, 900),
            web_searches=draw.choice([0, 0, 2]),
        )
        model = draw.choice(["large", "large", "half", "half", "small", "unknown", ""])
        yield TracedCall(
            id=f"{number}-{index}",
            session=f"s{number}",
            kind=kind,
            model=model,
            usage=usage,
            recorded_cost=None
            if len(kinds) > 1 and kind != "statement" and draw.random() < 0.7
            else recorded(draw, draw.choice(WAYS) if is_mixed else way, usage, model),
            region=draw.choice(["", "", "", "us"]),
            logged_price=draw.choice([None, None, LOGGED]),
            calls=draw.randint(1, 3) if kind == "statement" else 1,
            started_at=draw.choice([0.0, 1.7e9, 1.75e9]),
            node=draw.choice(["", "agent"]),
            attribution={"tenant": draw.choice(["acme", "globex"])},
            flags=draw.choice([(), (), (), (CLIENT_CACHE_HIT,), (NO_USAGE_RECORDED,), (ESTIMATED,)]),
        )


@pytest.fixture(scope="module")
def calls() -> list[TracedCall]:
    draw = random.Random(11)
    found = [call for number in range(1500) for call in session_of(draw, number)]
    return [*found, TracedCall(id="tool", session="s1", kind="tool", tool="search")]


@pytest.fixture(scope="module")
def audit(calls: list[TracedCall]) -> Audit:
    audit = Audit(PRICES)
    for call in calls:
        audit.add(call)
    return audit


@pytest.fixture(scope="module")
def engine(calls: list[TracedCall], tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("parquet") / "calls.parquet"
    assert write_parquet(calls, PRICES, path) == len(calls)
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW calls AS FROM '{path}'")
        connection.execute(audit_sql())
        yield connection


def test_sessions_agree(audit: Audit, engine: duckdb.DuckDBPyConnection) -> None:
    ours = {}
    for name, session in audit.sessions.items():
        found = conclude(session)
        tally = found.figures
        figures = (tally.calls, tally.input, tally.cached, tally.output, tally.cost if tally.is_priced else None)
        ours[name] = (*figures, found.recorded, tally.unpriced, found.verdict)
    rows = engine.execute("FROM audited_sessions").fetchall()
    theirs = {name: (*map(number, row[:-1]), row[-1]) for name, *row in rows}
    assert {name: (ours.get(name), row) for name, row in theirs.items() if ours.get(name) != row} == {}
    assert len(theirs) == len(ours)


def test_every_verdict_is_among_them(audit: Audit) -> None:
    verdicts = Counter(conclude(session).verdict for session in audit.sessions.values())
    assert set(verdicts) == set(VERDICTS)


@pytest.mark.parametrize("dimension", ["model", "node", "tenant", "day"])
def test_groups_agree(audit: Audit, engine: duckdb.DuckDBPyConnection, dimension: str) -> None:
    ours = {
        name: (tally.calls, tally.input, tally.cached, tally.output, tally.cost if tally.is_priced else None)
        for name, tally in audit.final_groups()[dimension].items()
    }
    columns = "name, calls, input_tokens, cached_input_tokens, output_tokens, cost_nanos"
    rows = engine.execute(f"SELECT {columns} FROM audited_groups WHERE dimension = ?", [dimension]).fetchall()
    assert {name: tuple(map(number, row)) for name, *row in rows} == ours


def number(value: Any) -> int | None:
    return None if value is None else int(value)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidTrace, match="cannot be written"):
        write_parquet([], PRICES, tmp_path / "no" / "such" / "folder.parquet")


def test_no_calls_at_all(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    assert write_parquet([], PRICES, path) == 0
    with duckdb.connect() as connection:
        assert connection.execute(f"FROM '{path}'").fetchall() == []


def test_odd_names_and_times(tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    odd = [
        TracedCall(id="1", session="half \ud800", model="\udfff", flags=("\ud800",)),
        TracedCall(id="2", session="nul \0 'quote\" \n line", started_at=float("nan"), ended_at=float("inf")),
    ]
    assert write_parquet(odd, PRICES, path) == 2
    with duckdb.connect() as connection:
        names = connection.execute(f"SELECT session, day FROM '{path}'").fetchall()
    assert names == [("half ?", ""), ("nul \0 'quote\" \n line", "")]
