"""How far above an estimate the real prompt may be, learned per model.

An estimate misses what the provider adds (message framing, tool instructions) and, for a foreign vocabulary, how its
tokenizer differs. A hold has to cover the real count, so it is made for an upper bound of the estimate:

- a *short* prompt (under ``SHORT`` tokens) is bounded by its estimate plus a surplus, because there what the provider
  adds outweighs everything else, and a ratio learned there would be absurd for long prompts;
- a *long* prompt is bounded by its estimate times a ratio, and by what was seen to be added to short ones.

Both start at a safe value (``START_EXACT``, ``START_FOREIGN``), move in equal steps over ``CONFIRMED`` observations to
what was seen, and stay there: the highest surplus or ratio of the last ``WINDOW`` to twice ``WINDOW`` observations,
plus a small safety. A count above the bound widens it at once. So while an observation is remembered, the bound for its
estimate covers it.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

from budgeted_agents.errors import InvalidUsage
from budgeted_agents.estimate.tokens import tokenizer_for

SHORT = 500
"""Estimates below this learn a surplus in tokens; from here on they learn a ratio."""

CONFIRMED = 16
"""Observations after which the starting margin has given way to what was learned."""

WINDOW = 64
"""Observations that are certainly remembered; none is after twice as many."""

SAFE_TOKENS = 8
"""Added to a learned surplus, and to every long prompt's bound."""

SAFE_PERCENT = 2
"""Added to a learned ratio."""


class Start(NamedTuple):
    """Margins before anything was learned: tokens added to a short prompt, percent added to a long one."""

    surplus: int
    percent: int


START_EXACT = Start(surplus=32, percent=2)
"""The model's own vocabulary: only the framing is unknown."""

START_FOREIGN = Start(surplus=300, percent=60)
"""Another vocabulary. Against ``Tokenizer.count``, which allows for non-Latin scripts, Claude's published tokenizer
makes 0.6 to 1.4 times the tokens and DeepSeek's 0.3 to 1.2; newer ones are not published."""


class Highest:
    """The highest of the last ``WINDOW`` to twice ``WINDOW`` values: two generations, the older one forgotten whole."""

    __slots__ = ("current", "filled", "previous", "seen")

    def __init__(self) -> None:
        self.current = self.previous = self.filled = self.seen = 0

    @property
    def value(self) -> int:
        return max(self.current, self.previous)

    def add(self, value: int) -> None:
        """Take a value in."""
        self.seen = min(self.seen + 1, CONFIRMED)
        if self.filled == WINDOW:
            self.current, self.previous, self.filled = value, self.current, 1
        else:
            self.current, self.filled = max(self.current, value), self.filled + 1

    def blended(self, start: int, safe: int) -> int:
        """From ``start`` to ``safe`` (what was seen plus its safety) as observations confirm it; upwards at once."""
        if safe >= start:
            return safe if self.seen else start
        return safe + (start - safe) * (CONFIRMED - self.seen) // CONFIRMED


class Learned:
    """What was seen of one model, and the margin that follows from it.

    The margin is worked out when something is learned, so that a bound is one sum or one product.

    Attributes:
        surplus, ratio: what was seen of short prompts (tokens) and of long ones (thousandths).
        added: tokens added to a short prompt's estimate.
        factor: what a long prompt's estimate is multiplied by, in thousandths.
        least_added: tokens that are at least added to a long prompt's estimate: what a provider adds to short prompts,
            it adds to long ones too.
    """

    __slots__ = ("added", "factor", "least_added", "ratio", "start", "surplus")

    def __init__(self, start: Start) -> None:
        self.start, self.surplus, self.ratio = start, Highest(), Highest()
        self.added, self.factor, self.least_added = start.surplus, 1000 + 10 * start.percent, 0

    def learn(self, estimate: int, actual: int) -> None:
        is_short = estimate < SHORT
        seen = self.surplus if is_short else self.ratio
        value = actual - estimate if is_short else -(-actual * 1000 // estimate)
        if value <= seen.current and seen.filled < WINDOW and seen.seen == CONFIRMED:
            seen.filled += 1  # as most are: it changes nothing
            return
        seen.add(max(0, value))
        if is_short:
            self.least_added = seen.value + SAFE_TOKENS
            self.added = seen.blended(self.start.surplus, self.least_added)
        else:
            safe = max(1000, self.ratio.value) * (100 + SAFE_PERCENT) // 100 + 1
            self.factor = self.ratio.blended(1000 + 10 * self.start.percent, safe)


class Margins:
    """Upper bounds on prompt tokens by model, learned from what calls really had. Safe from any thread; O(1)."""

    def __init__(self) -> None:
        self._learned: dict[str, Learned] = {}
        self._lock = Lock()

    def bound(self, model: str, estimate: int) -> int:
        """Tokens to hold for a prompt of ``estimate`` tokens; never less than the estimate.

        Raises:
            InvalidUsage: the estimate is negative.
        """
        if estimate < 0:
            raise _negative("estimate", estimate, model)
        learned = self._learned.get(model) or self._of(model)
        if estimate < SHORT:
            return estimate + learned.added
        bound, least = SAFE_TOKENS - (-estimate * learned.factor // 1000), estimate + learned.least_added
        return bound if bound > least else least

    def learn(self, model: str, estimate: int, actual: int) -> None:
        """Take in that a prompt estimated at ``estimate`` tokens (not its bound) had ``actual``, cached ones included.

        Raises:
            InvalidUsage: a count is negative. Nothing is learned.
        """
        if estimate < 0 or actual < 0:
            raise _negative("estimate", estimate, model) if estimate < 0 else _negative("actual", actual, model)
        with self._lock:
            (self._learned.get(model) or self._of(model)).learn(estimate, actual)

    def _of(self, model: str) -> Learned:
        start = START_EXACT if tokenizer_for(model).exact else START_FOREIGN
        return self._learned.setdefault(model, Learned(start))


def _negative(field: str, tokens: int, model: str) -> InvalidUsage:
    return InvalidUsage(
        "is negative", field=field, value=tokens, place=f"margin of {model!r}", remedy="Give a count of tokens"
    )
