"""Whether a recorded cost can be believed: each verdict by what brings it about."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.traces.audit.verdicts import VERDICTS, Spread, Verdict, assess, is_constant, to_atto, worst
from budgeted_agents.traces.call import CLIENT_CACHE_HIT, ESTIMATED, LOCAL_MODEL, NO_USAGE_RECORDED, TracedCall
from budgeted_agents.usage import Usage
from tests.traces.audit.rows import CLAUDE

PRICE = PriceBook({"m": CLAUDE}).price("m")
USAGE = Usage(input=1000, cache_read=2000, cache_write_5m=40, cache_write_1h=70, output=100)

counts = st.integers(0, 50_000)
usages = st.builds(Usage, counts, counts, counts, counts, output=counts)


def call(recorded: Decimal | str | None = None, usage: Usage = USAGE, **more: Any) -> TracedCall:
    cost = None if recorded is None else Decimal(recorded)
    return TracedCall(id="c", session="s", model="m", usage=usage, recorded_cost=cost, **more)


def usd(usage: Usage, price: Price = PRICE) -> Decimal:
    return Decimal(price.exact_cost(usage)).scaleb(-18)


def verdict(recorded: Decimal | str | None, usage: Usage = USAGE, **more: Any) -> Verdict:
    return assess(call(recorded, usage, **more), PRICE).verdict


@given(usages)
def test_the_right_cost_is_exact(usage: Usage) -> None:
    found = assess(call(usd(usage), usage), PRICE)
    assert (found.verdict, found.cost) == ("exact", PRICE.cost(usage))
    assert verdict(Decimal(repr(float(usd(usage)))), usage) == "exact"


@given(usages.filter(lambda usage: usage.input >= 1), st.data())
def test_dropped_cache_reads_are_found_to_the_token(usage: Usage, data: st.DataObject) -> None:
    """A trace that writes cached tokens down as plain input records a cost that only those tokens explain."""
    cached = data.draw(st.integers(1, usage.input))
    billed = Usage(usage.input - cached, usage.cache_read + cached, 0, 0, output=usage.output)
    written = Usage(usage.input, usage.cache_read, 0, 0, output=usage.output)
    found = assess(call(usd(billed), written), PRICE)
    assert (found.verdict, found.unrecorded_cache, found.cost) in (
        ("explained_by_unrecorded_cache", cached, PRICE.cost(billed)),
        ("rounding", 0, PRICE.cost(written)),  # a difference of the last digits written
    )


@pytest.mark.parametrize(("cached", "expected"), [(1280, "explained_by_unrecorded_cache"), (1281, "mismatch")])
def test_where_a_cached_token_costs_half_only_steps_of_a_cache_prove_something(cached: int, expected: Verdict) -> None:
    """Then any cost at all is a whole number of what a cached token saves."""
    half = PriceBook({"m": {"input_cost_per_token": "2e-6", "cache_read_input_token_cost": "1e-6"}}).price("m")
    billed = Decimal(half.exact_cost(Usage(input=5000 - cached, cache_read=cached))).scaleb(-18)
    assert assess(call(billed, Usage(input=5000)), half).verdict == expected


def test_estimated_tokens_are_right_to_a_tenth() -> None:
    usage = Usage(input=1000, output=100)
    assert verdict("0.0041234", usage, flags=(ESTIMATED,)) == "rounding"
    assert verdict("0.0041234", usage) == "mismatch"
    assert verdict("0.0031234", usage, flags=(ESTIMATED,)) == "mismatch"


@given(usages.filter(lambda usage: usage.cache_write_1h >= 1))
def test_writes_for_an_hour_priced_as_for_five_minutes(usage: Usage) -> None:
    cheap = Usage(usage.input, usage.cache_read, usage.cache_write_5m + usage.cache_write_1h, 0, output=usage.output)
    assert verdict(usd(cheap), usage) in ("explained_by_cache_ttl", "rounding")


def test_writes_of_unknown_lifetime_that_cost_an_hours_price() -> None:
    written = Usage(input=10, cache_write_5m=500, output=3)
    assert verdict(usd(Usage(input=10, cache_write_1h=500, output=3)), written) == "explained_by_cache_ttl"


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("0.0045", "exact"),
        ("0.004499999999", "exact"),  # cut off at twelve decimals
        ("0.00450000000000000038", "exact"),  # a float's error
        ("0.00449999", "rounding"),
        ("0.0045004", "mismatch"),
        ("0", "mismatch"),  # free it was not
        ("0.0049", "mismatch"),
        ("NaN", "mismatch"),
        ("1E+999999", "mismatch"),
        ("-0.0045", "mismatch"),
    ],
)
def test_digits(recorded: str, expected: Verdict) -> None:
    assert verdict(recorded, Usage(input=1000, output=100)) == expected


def test_an_amount_of_few_digits_is_rounded() -> None:
    usage = Usage(input=4111, output=100)  # $0.013833
    assert verdict("0.0138", usage) == "rounding"
    assert verdict("0.014", usage) == "rounding"
    assert verdict("0.01", usage) == "mismatch"  # one digit says too little


def test_what_cannot_be_priced_is_unpriced_and_never_free() -> None:
    assert assess(call("0.5"), None).verdict == "unpriced"
    found = assess(call("0.5", flags=(NO_USAGE_RECORDED,)), PRICE)
    assert (found.cost, found.recorded, found.verdict) == (None, 5 * 10**17, "unpriced")


HALF_PRICE = PriceBook(
    {"m": CLAUDE | {"input_cost_per_token": "0.0000015", "output_cost_per_token": "0.0000075"}}
).price("m")


def test_a_cost_by_the_price_that_the_trace_states_is_explained() -> None:
    """Whatever else would explain it: at half the price, any gap is a whole number of cached tokens."""
    found = assess(call(usd(USAGE, HALF_PRICE), logged_price=HALF_PRICE), PRICE)
    assert (found.verdict, found.cost, found.is_by_log) == ("explained_by_logged_price", PRICE.cost(USAGE), False)
    assert verdict(usd(USAGE), logged_price=HALF_PRICE) == "exact"
    assert verdict("0.9", logged_price=HALF_PRICE) == "mismatch"


@given(usages)
def test_a_price_that_only_the_trace_knows_proves_nothing(usage: Usage) -> None:
    right = usd(usage, HALF_PRICE)
    found = assess(call(right, usage, logged_price=HALF_PRICE), None)
    assert (found.verdict, found.cost, found.is_by_log) == (
        "explained_by_logged_price",
        HALF_PRICE.cost(usage),
        True,
    )


@pytest.mark.parametrize(
    ("recorded", "more", "expected"),
    [
        (None, {}, ("recorded_missing", HALF_PRICE.cost(USAGE), True)),
        ("0.9", {}, ("mismatch", HALF_PRICE.cost(USAGE), True)),
        ("0.9", {"flags": (NO_USAGE_RECORDED,)}, ("unpriced", None, False)),
        ("0", {"flags": (CLIENT_CACHE_HIT,)}, ("exact", 0, False)),
    ],
)
def test_calls_at_a_price_that_only_the_trace_knows(
    recorded: str | None, more: dict[str, Any], expected: tuple[Verdict, int | None, bool]
) -> None:
    found = assess(call(recorded, logged_price=HALF_PRICE, **more), None)
    assert (found.verdict, found.cost, found.is_by_log) == expected


@pytest.mark.parametrize(("calls", "input_rate"), [(1, 6), (2, 6), (3, 3), (0, 3)])
def test_a_sum_is_no_size_of_a_prompt(calls: int, input_rate: int) -> None:
    """Above 200,000 tokens a prompt costs twice as much; where nobody knows how many there were, they were short."""
    stated = call(None, Usage(input=600_000), kind="statement", calls=calls)
    assert assess(stated, PRICE).cost == 600_000 * input_rate * 1_000


def test_nothing_recorded() -> None:
    found = assess(call(None), PRICE)
    assert (found.cost, found.recorded, found.verdict) == (PRICE.cost(USAGE), None, "recorded_missing")


@pytest.mark.parametrize("flag", [CLIENT_CACHE_HIT, LOCAL_MODEL])
def test_what_costs_nothing(flag: str) -> None:
    assert assess(call("0", flags=(flag,)), PRICE).verdict == "exact"
    assert assess(call("0.1", flags=(flag,)), PRICE).verdict == "mismatch"
    assert assess(call(None, flags=(flag,)), None).cost == 0


def test_a_call_that_was_refused_and_recorded_at_nothing_cost_nothing() -> None:
    """As gateways record what a rate limit refused. Without a record, or without an error, nobody knows."""
    refused: dict[str, Any] = {"error": "RateLimitError", "flags": (NO_USAGE_RECORDED,)}
    for price in (PRICE, None):
        found = assess(call("0", **refused), price)
        assert (found.cost, found.recorded, found.verdict) == (0, 0, "exact")
    assert assess(call(None, **refused), PRICE).cost is None
    assert assess(call("0.1", **refused), PRICE).verdict == "unpriced"
    assert assess(call("0", flags=(NO_USAGE_RECORDED,)), PRICE).verdict == "unpriced"
    assert assess(call("0", error="RateLimitError"), PRICE).verdict == "mismatch"


def test_many_calls_in_sum_have_the_price_of_a_small_prompt() -> None:
    usage = Usage(input=300_000, output=10)
    small = assess(call(None, usage, kind="statement", calls=10), PRICE)
    assert small.cost == 300_000 * 3000 + 10 * 15_000
    assert assess(call(None, usage), PRICE).cost == 300_000 * 6000 + 10 * 15_000


def test_a_wrong_row_and_the_wrong_lifetime_at_once() -> None:
    """A list's cache writes for an hour priced as for five minutes, at another model's rates: 5/3 of them."""
    short = Usage(USAGE.input, USAGE.cache_read, USAGE.cache_write_5m + USAGE.cache_write_1h, 0, output=USAGE.output)
    found = assess(call(usd(short) * 5 / 3), PRICE)
    assert (found.verdict, round(found.ratio, 9)) == ("mismatch", round(5 / 3, 9))


def spread(*values: float) -> Spread:
    whole = Spread()
    for value in values:
        whole.merge(Spread(1, value, value))
    return whole


@pytest.mark.parametrize(
    ("ratios", "per_token", "expected"),
    [
        ((5 / 3, 5 / 3 + 1e-9, 5 / 3), (1.0, 2.0, 3.0), True),
        ((5 / 3,), (1.0,), True),
        ((1.234567,), (1.0,), False),  # one call proves a simple fraction only
        ((1.234567, 1.234567), (1.0, 2.0), True),
        ((1.2, 1.3), (1.0, 2.0), False),
        ((1.2, 1.3), (1e12, 1e12), True),  # $1 a million tokens, whatever they are
        ((0.0, 0.0), (0.0, 0.0), False),
        ((), (), False),
    ],
)
def test_one_wrong_price(ratios: tuple[float, ...], per_token: tuple[float, ...], expected: bool) -> None:
    assert is_constant(spread(*ratios), spread(*per_token)) is expected


@given(st.decimals(allow_nan=True, allow_infinity=True), usages)
def test_every_call_gets_a_verdict(recorded: Decimal, usage: Usage) -> None:
    assert verdict(recorded, usage) in VERDICTS


def test_absurd_amounts_are_none() -> None:
    assert [to_atto(Decimal(text)) for text in ("NaN", "Infinity", "1E+13", "1E-999999")] == [None, None, None, 0]


def test_the_worst_of_several() -> None:
    assert worst(["exact", "rounding", "exact"]) == "rounding"
    assert worst({"unpriced": 1, "mismatch": 2}) == "mismatch"
    assert worst([]) == "recorded_missing"
