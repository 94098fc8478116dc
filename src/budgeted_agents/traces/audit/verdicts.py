"""Whether a recorded cost can be believed: what a trace says a call cost, against what its tokens cost. Pure.

Money is compared in atto-USD (10^-18), so that nothing is lost before it is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from budgeted_agents.prices import Price
from budgeted_agents.prices.rates import Rates
from budgeted_agents.prices.rows import ATTO_PER_NANO
from budgeted_agents.traces.call import (
    CLIENT_CACHE_HIT,
    ESTIMATED,
    LOCAL_MODEL,
    NO_USAGE_RECORDED,
    SYNTHETIC,
    TracedCall,
)
from budgeted_agents.usage import Usage

Verdict = Literal[
    "exact",
    "rounding",
    "explained_by_cache_ttl",
    "explained_by_unrecorded_cache",
    "explained_by_logged_price",
    "constant_ratio",
    "recorded_missing",
    "unpriced",
    "mismatch",
]
EXACT: Verdict = "exact"
ROUNDING: Verdict = "rounding"
CACHE_TTL: Verdict = "explained_by_cache_ttl"
UNRECORDED_CACHE: Verdict = "explained_by_unrecorded_cache"
LOGGED_PRICE: Verdict = "explained_by_logged_price"
CONSTANT_RATIO: Verdict = "constant_ratio"
RECORDED_MISSING: Verdict = "recorded_missing"
UNPRICED: Verdict = "unpriced"
MISMATCH: Verdict = "mismatch"

VERDICTS: tuple[Verdict, ...] = (
    EXACT,
    ROUNDING,
    CACHE_TTL,
    UNRECORDED_CACHE,
    LOGGED_PRICE,
    CONSTANT_RATIO,
    RECORDED_MISSING,
    UNPRICED,
    MISMATCH,
)
"""From the best to the worst: what is true of many calls is the worst that is true of one."""

_FREE = frozenset({CLIENT_CACHE_HIT, LOCAL_MODEL, SYNTHETIC})
"""Flags of calls that cost nothing, whatever their tokens."""

_FEW_DIGITS = 10 * ATTO_PER_NANO
"""Recorders cut their sums off at eight to twelve decimals."""

_ESTIMATE = 10
"""Estimated tokens are right to one part in so many."""

_CACHE_STEP = 64
"""Providers read caches in steps of 128 or 64 tokens, or, a few, of one."""

_MOST_DIGITS = 12
"""Amounts of more digits before the point are no cost of a call."""

_FLOAT_NOISE = 1000
"""What is left of a double's error on an amount of some dollars, in atto-USD."""

_SAME_RATIO = 1e-4
_SIMPLE_RATIO = 1e-6
_SMALL = 12


def to_atto(amount: Decimal) -> int | None:
    """USD as atto-USD; None if that is no amount a call can cost (not finite, or trillions)."""
    if not amount.is_finite() or amount.adjusted() > _MOST_DIGITS:
        return None
    return int(amount.scaleb(18).to_integral_value())


class Assessment(msgspec.Struct, gc=False):
    """What a call costs, and what to think of the cost that its trace records.

    Attributes:
        cost: nano-USD by its tokens, those included that must have come from a cache; None if that cannot be known.
        recorded: atto-USD that the trace records; None if it records no sensible amount.
        verdict: on the recorded cost.
        ratio: of a mismatch, recorded to right cost; 0 where there is none.
        per_token: of a mismatch, atto-USD recorded for each token, in or out; 0 where there is none.
        unrecorded_cache: input tokens that must have come from a cache to explain the recorded cost.
        is_by_log: whether the cost is by the price that the trace itself states, because no other is known.
    """

    cost: int | None
    recorded: int | None
    verdict: Verdict
    ratio: float = 0.0
    per_token: float = 0.0
    unrecorded_cache: int = 0
    is_by_log: bool = False


def assess(call: TracedCall, price: Price | None) -> Assessment:
    """The cost and verdict of a model call, an embedding or a statement.

    Args:
        call: the call.
        price: the price of its model on its day, if there is one.
    """
    recorded = call.recorded_cost
    if call.flags and is_free(call):
        return _free(recorded)
    if price is None and call.logged_price is not None:
        return _by_log(assess(call, call.logged_price))
    if price is None or (call.flags and not is_priceable(call)):
        return Assessment(None, None if recorded is None else to_atto(recorded), UNPRICED)
    usage, tier, size = call.usage, call.service_tier or None, rate_size(call)
    right = price.exact_cost(usage, tier, size)
    cost = -(-right // ATTO_PER_NANO)
    if recorded is None:
        return Assessment(cost, None, RECORDED_MISSING)
    said = to_atto(recorded)
    if said is None:
        return Assessment(cost, None, MISMATCH)
    gap = right - said
    if -ATTO_PER_NANO <= gap <= ATTO_PER_NANO:
        return Assessment(cost, said, EXACT)
    if _is_rounded(recorded, said, abs(gap)) or (ESTIMATED in call.flags and abs(gap) * _ESTIMATE <= right):
        return Assessment(cost, said, ROUNDING)
    if call.logged_price is not None and _agrees(recorded, said, call.logged_price.exact_cost(usage, tier, size)):
        return Assessment(cost, said, LOGGED_PRICE)
    return _explained(cost, said, right, usage, price.rates(usage.prompt_tokens if size is None else size, tier))


def is_free(call: TracedCall) -> bool:
    """Whether the call cost nothing, whatever its tokens; or failed before it used any, for $0 as its trace says."""
    if not _FREE.isdisjoint(call.flags):
        return True
    return bool(call.error) and NO_USAGE_RECORDED in call.flags and call.recorded_cost == 0


def is_priceable(call: TracedCall) -> bool:
    """Whether its tokens are known."""
    return NO_USAGE_RECORDED not in call.flags


def rate_size(call: TracedCall) -> int | None:
    """The size of prompt whose rates hold for a statement about several calls, in tokens; None for its own.

    Where nobody knows how many calls there were, it is that of short ones: the sum is no size of any prompt.
    """
    if call.calls == 1 or call.kind != "statement":
        return None
    return call.usage.prompt_tokens // call.calls if call.calls else 0


def _free(recorded: Decimal | None) -> Assessment:
    said = None if recorded is None else to_atto(recorded)
    verdict = RECORDED_MISSING if recorded is None else EXACT if said == 0 else MISMATCH
    return Assessment(0, said, verdict)


def _by_log(found: Assessment) -> Assessment:
    """What is found by the trace's own price: that its cost agrees with that proves neither."""
    found.is_by_log = found.cost is not None
    if found.verdict in (EXACT, ROUNDING):
        found.verdict = LOGGED_PRICE
    return found


def _agrees(recorded: Decimal, said: int, right: int) -> bool:
    gap = abs(right - said)
    return gap <= ATTO_PER_NANO or _is_rounded(recorded, said, gap)


def _is_rounded(recorded: Decimal, said: int, gap: int) -> bool:
    """Whether the gap is within the digits that were written."""
    return said != 0 and ((gap <= _FEW_DIGITS and gap * 1000 <= said) or gap <= half_digit(recorded))


def half_digit(recorded: Decimal) -> int:
    """Half of the last digit written, in atto-USD; 0 where one digit, or none behind the point, says too little."""
    _, digits, exponent = recorded.as_tuple()
    if len(digits) < 2 or not isinstance(exponent, int) or not -17 <= exponent <= -2:
        return 0
    half: int = 5 * 10 ** (17 + exponent)
    return half


def _explained(cost: int, said: int, right: int, usage: Usage, rates: Rates) -> Assessment:
    """Why a cost differs, if a whole number of tokens of a known kind makes up the difference."""
    gap, dearer = right - said, rates.cache_write_1h - rates.cache_write_5m
    if _tokens(gap, dearer, usage.cache_write_1h) or _tokens(-gap, dearer, usage.cache_write_5m):
        return Assessment(cost, said, CACHE_TTL)
    if cached := _cached_tokens(gap, usage, rates):
        return Assessment(-(-said // ATTO_PER_NANO), said, UNRECORDED_CACHE, unrecorded_cache=cached)
    tokens = usage.total_tokens
    ratio = _ratio(said, right, right - usage.cache_write_1h * dearer)
    return Assessment(cost, said, MISMATCH, ratio, said / tokens if tokens else 0.0)


def _ratio(said: int, right: int, short_lived: int) -> float:
    """Recorded to right cost; or to the cost if no cache write were for an hour, where only that is a simple ratio."""
    ratio = said / right if right else 0.0
    if short_lived in (right, 0) or _is_simple(ratio):
        return ratio
    other = said / short_lived
    return other if _is_simple(other) else ratio


def _cached_tokens(gap: int, usage: Usage, rates: Rates) -> int:
    """How many tokens that cost less than they should make up a gap; 0 if none do.

    Where every cost is a multiple of what one of them saves, a whole number proves nothing, but steps of a cache do.
    """
    saved = rates.input - rates.cache_read
    tokens = _tokens(gap, saved, usage.input)
    proves_nothing = tokens and not rates.input % saved and not rates.output % saved
    return 0 if proves_nothing and tokens % _CACHE_STEP else tokens


def _tokens(gap: int, rate: int, most: int) -> int:
    """How many tokens at this difference of rates make up a gap; 0 if it is no whole number from 1 to ``most``."""
    if gap <= 0 or rate <= 0:
        return 0
    tokens = (gap + rate // 2) // rate
    return tokens if 1 <= tokens <= most and abs(gap - tokens * rate) <= max(rate // 1000, _FLOAT_NOISE) else 0


class Spread(msgspec.Struct):
    """How far values lie apart, without keeping them."""

    values: int = 0
    low: float = float("inf")
    high: float = 0.0

    def merge(self, other: Spread) -> None:
        self.values += other.values
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def is_one_value(self) -> bool:
        """Whether several values are one and the same, and not 0."""
        return self.values > 1 and self.low > 0 and self.high - self.low <= _SAME_RATIO * self.low


def is_constant(ratios: Spread, per_token: Spread) -> bool:
    """Whether one wrong price explains all mismatches: that of another row of the list, or one for all kinds of tokens.

    Args:
        ratios: of recorded to right cost. One alone must be a simple fraction such as 5/3.
        per_token: USD recorded for each token.
    """
    if ratios.values == 1:
        return _is_simple(ratios.low)
    return ratios.is_one_value or per_token.is_one_value


def _is_simple(ratio: float) -> bool:
    """Whether a ratio is a fraction of small numbers, such as 5/3: one price of a list to another."""
    if not 0 < ratio < _SMALL:
        return False
    fractions = (round(ratio * whole) / whole for whole in range(1, _SMALL + 1))
    return any(abs(fraction - ratio) <= _SIMPLE_RATIO * fraction for fraction in fractions)


def worst(verdicts: Collection[Verdict] | Mapping[Verdict, int]) -> Verdict:
    """The verdict on many calls; on none at all, that nothing was recorded."""
    return max(verdicts, key=VERDICTS.index, default=RECORDED_MISSING)
