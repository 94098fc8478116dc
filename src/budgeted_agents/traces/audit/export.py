"""Calls as a Parquet file, each with its prices: all that an engine for larger data needs for the same audit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.prices import DatedPrices, Price
from budgeted_agents.prices.rates import Rates
from budgeted_agents.traces.audit.audit import day_name, day_of
from budgeted_agents.traces.audit.verdicts import half_digit, is_free, is_priceable, rate_size, to_atto
from budgeted_agents.traces.call import PRICED_BY_LOG, TracedCall
from budgeted_agents.usage import Usage

_CLASSES = Rates._fields
_EXACT = "DECIMAL(38, 0)"
_COLUMNS = {
    **dict.fromkeys(
        ("id", "session", "kind", "trace", "span", "parent", "model", "model_asked", "provider"), "VARCHAR"
    ),
    **dict.fromkeys(("node", "tool", "fingerprint", "tenant", "feature", "user", "day", "service_tier"), "VARCHAR"),
    **dict.fromkeys(("error", "price_source"), "VARCHAR"),
    **dict.fromkeys(("started_at", "ended_at"), "DOUBLE"),
    "flags": "VARCHAR[]",
    **dict.fromkeys(("calls_stated", "turns", *_CLASSES, "web_searches"), "BIGINT"),
    **dict.fromkeys(("succeeded", "is_recorded", "is_free", "is_priced", "is_by_log"), "BOOLEAN"),
    **dict.fromkeys(("recorded_atto", "half_digit_atto", "extra_atto", "logged_atto"), _EXACT),
    **dict.fromkeys((f"rate_{name}" for name in _CLASSES), "BIGINT"),
}
"""The file's columns. Amounts of money are in atto-USD (10^-18), rates for one token."""

_ENCODER = msgspec.json.Encoder(decimal_format="string")
_NO_RATES = Rates(*(0 for _ in _CLASSES))


def audit_sql() -> str:
    """The audit in SQL (DuckDB's dialect), over a relation ``calls`` of this shape."""
    return files("budgeted_agents.traces.audit").joinpath("sql/audit.sql").read_text(encoding="utf-8")


def write_parquet(calls: Iterable[TracedCall], prices: DatedPrices, path: Path) -> int:
    """Write calls to a Parquet file; memory does not grow with their number.

    Args:
        calls: each call once.
        prices: what models cost.
        path: the file; one that is there is replaced.

    Returns:
        How many calls there were.

    Raises:
        InvalidTrace: DuckDB is not installed, or the file cannot be written.
    """
    try:
        import duckdb
    except ImportError:
        raise _unwritable("needs DuckDB", path, 'pip install "budgeted-agents[replay]"') from None
    try:
        with TemporaryDirectory(dir=path.parent) as folder, duckdb.connect() as connection:
            lines = Path(folder, "calls.jsonl")
            written = _write_lines(calls, prices, lines)
            source = connection.read_json(str(lines), columns=_COLUMNS, format="newline_delimited")
            source.write_parquet(str(path), compression="zstd")
    except (OSError, duckdb.Error) as error:
        raise _unwritable(f"cannot be written ({error})", path, "Name a file in a folder you may write to") from error
    return written


def _write_lines(calls: Iterable[TracedCall], prices: DatedPrices, path: Path) -> int:
    written = 0
    known: dict[tuple[int, str, str, str], Price | None] = {}
    with path.open("wb") as file:
        for call in calls:
            key = (day_of(call.started_at), call.model, call.provider, call.region)
            if key not in known:
                known[key] = prices.on(*key) if call.model else None
            file.write(_encoded(_row(call, known[key])) + b"\n")
            written += 1
    return written


def _encoded(row: dict[str, Any]) -> bytes:
    """A row as JSON; what is half a character in it becomes a question mark."""
    try:
        return _ENCODER.encode(row)
    except UnicodeEncodeError:
        return _ENCODER.encode({name: _whole(value) for name, value in row.items()})


def _whole(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _row(call: TracedCall, listed: Price | None) -> dict[str, Any]:
    usage, tier, logged = call.usage, call.service_tier or None, call.logged_price
    price = listed or logged
    is_by_log = listed is None and logged is not None and is_priceable(call) and not is_free(call)
    said = None if call.recorded_cost is None else to_atto(call.recorded_cost)
    size = rate_size(call)
    rates = _NO_RATES if price is None else price.rates(usage.prompt_tokens if size is None else size, tier)
    named = ("id", "session", "kind", "trace", "span", "parent", "model", "model_asked", "provider", "node", "tool")
    return {
        **{name: getattr(call, name) for name in named},
        **{name: getattr(call, name) for name in ("fingerprint", "service_tier", "error", "turns", "succeeded")},
        **{name: call.attribution.get(name, "") for name in ("tenant", "feature", "user")},
        **{name: getattr(usage, name) for name in (*_CLASSES, "web_searches")},
        **{f"rate_{name}": rate for name, rate in rates._asdict().items()},
        "day": day_name(day_of(call.started_at)),
        "started_at": call.started_at,
        "ended_at": call.ended_at,
        "flags": [*map(_whole, call.flags), *([PRICED_BY_LOG] if is_by_log else [])],
        "calls_stated": call.calls,
        "is_recorded": call.recorded_cost is not None,
        "is_free": is_free(call),
        "is_priced": price is not None and is_priceable(call),
        "is_by_log": is_by_log,
        "recorded_atto": None if said is None else Decimal(said),
        "half_digit_atto": Decimal(0 if call.recorded_cost is None else half_digit(call.recorded_cost)),
        "extra_atto": Decimal(0 if price is None else price.exact_cost(Usage(web_searches=usage.web_searches), tier)),
        "logged_atto": None if logged is None else Decimal(logged.exact_cost(usage, tier, size)),
        "price_source": "" if price is None else price.source,
    }


def _unwritable(problem: str, path: Path, remedy: str) -> InvalidTrace:
    return InvalidTrace(problem, field="parquet", value=str(path), place="replay", remedy=remedy)
