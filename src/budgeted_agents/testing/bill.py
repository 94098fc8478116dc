"""The provider's own bill: what each request truly costs, exactly, whatever the client believes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from budgeted_agents.errors import InvalidPrice
from budgeted_agents.money import NANO
from budgeted_agents.testing.conversation import (
    MESSAGE_OVERHEAD,
    JsonObject,
    Request,
    TokenCounter,
    TokenUsage,
)

_MILLION = 1_000_000
_CACHE_MINIMUM = 1024
_CACHE_STEP = 128


class ModelPrice(NamedTuple):
    """A model's prices in USD per million tokens. Without ``cache_write``, writing to the cache costs as input."""

    input: Decimal
    cached: Decimal
    output: Decimal
    cache_write: Decimal | None = None


def _price(*usd: str) -> ModelPrice:
    return ModelPrice(*(Decimal(amount) for amount in usd))


LIST_PRICES: Mapping[str, ModelPrice] = {
    "gpt-4o": _price("2.50", "1.25", "10.00"),
    "gpt-4o-mini": _price("0.15", "0.075", "0.60"),
    "gpt-4.1-nano": _price("0.10", "0.025", "0.40"),
    "claude-sonnet-4-5": _price("3.00", "0.30", "15.00", "3.75"),
    "claude-haiku-4-5": _price("1.00", "0.10", "5.00", "1.25"),
    "gemini-3.5-flash-lite": _price("0.30", "0.03", "2.50"),
    "text-embedding-3-small": _price("0.02", "0.02", "0"),
}
"""The providers' list prices (2026-11), as LiteLLM's price list has them too."""


def cost_usd(usage: TokenUsage, price: ModelPrice) -> Decimal:
    """Exact cost of a call in USD: every class of tokens at its own rate."""
    write_rate = price.input if price.cache_write is None else price.cache_write
    per_million = (
        usage.uncached_tokens * price.input
        + usage.cached_tokens * price.cached
        + usage.cache_write_tokens * write_rate
        + usage.output_tokens * price.output
    )
    return per_million / _MILLION


def checked_prices(prices: Mapping[str, ModelPrice | tuple[Decimal, Decimal, Decimal]]) -> dict[str, ModelPrice]:
    """The prices as ``ModelPrice``.

    Raises:
        InvalidPrice: if one is not a finite Decimal of at least 0.
    """
    checked = {model: ModelPrice(*price) for model, price in prices.items()}
    for model, price in checked.items():
        for name, rate in price._asdict().items():
            if rate is not None and not (isinstance(rate, Decimal) and rate.is_finite() and rate >= 0):
                raise InvalidPrice(
                    "is not a price",
                    field=name,
                    value=rate,
                    place=f"LocalProvider prices[{model!r}]",
                    remedy='Give USD per million tokens as a Decimal, e.g. Decimal("2.50")',
                )
    return checked


@dataclass(frozen=True)
class RequestRecord:
    """One request in the bill.

    Attributes:
        request: the request as it arrived.
        usage: the tokens of the answer.
        usd: what has been billed so far, exactly.
        status: the HTTP status sent, 0 if none was.
        outcome: ``open`` (under way), ``answered``, ``refused`` (an error status), ``cut`` (by the provider, as
            scripted) or ``client_gone``.
        arrived: seconds since the provider started.
        finished: likewise, when the outcome was known; None while open.
    """

    request: Request
    usage: TokenUsage
    usd: Decimal
    status: int
    outcome: str
    arrived: float
    finished: float | None = None

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def nanos(self) -> int:
        """The billed amount in nano-USD, rounded up once."""
        return int((self.usd * NANO).to_integral_value(ROUND_CEILING))

    def as_json(self) -> JsonObject:
        return {
            "number": self.request.number,
            "path": self.request.path,
            "model": self.model,
            "stream": self.request.stream,
            "usage": dict(vars(self.usage)),
            "usd": str(self.usd),
            "nanos": self.nanos,
            "status": self.status,
            "outcome": self.outcome,
            "arrived": self.arrived,
            "finished": self.finished,
        }


class Bill:
    """A thread-safe list of request records and their sum."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._records: list[RequestRecord] = []

    def add(self, record: RequestRecord) -> int:
        """Books a record and returns its place, by which it can be changed."""
        with self._lock:
            self._records.append(record)
            return len(self._records) - 1

    def finish(self, place: int, status: int, outcome: str, now: float) -> None:
        """Books how a request ended."""
        with self._lock:
            self._records[place] = replace(self._records[place], status=status, outcome=outcome, finished=now)
            self._lock.notify_all()

    def wait_for_outcomes(self, requests: int, timeout: float = 10.0) -> None:
        """Returns as soon as at least so many requests have an outcome.

        Raises:
            TimeoutError: if they have none within ``timeout`` seconds.
        """
        with self._lock:
            if not self._lock.wait_for(lambda: self._finished() >= requests, timeout):
                raise TimeoutError(f"{self._finished()} of {requests} requests finished in {timeout} s")

    def charge(self, place: int, usd: Decimal) -> None:
        """Raises what a record is billed to this amount (a bill never shrinks)."""
        with self._lock:
            record = self._records[place]
            self._records[place] = replace(record, usd=max(record.usd, usd))

    @property
    def records(self) -> tuple[RequestRecord, ...]:
        with self._lock:
            return tuple(self._records)

    @property
    def usd(self) -> Decimal:
        """The exact sum in USD."""
        return sum((record.usd for record in self.records), Decimal(0))

    @property
    def nanos(self) -> int:
        """The sum in nano-USD, each request rounded up once."""
        return sum(record.nanos for record in self.records)

    def as_json(self) -> JsonObject:
        records = self.records
        return {
            "usd": str(sum((record.usd for record in records), Decimal(0))),
            "nanos": sum(record.nanos for record in records),
            "requests": [record.as_json() for record in records],
        }

    def _finished(self) -> int:
        return sum(record.finished is not None for record in self._records)


class PromptCache:
    """Remembers the beginnings of histories, by model, as the providers' automatic prompt caching does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[bytes] = set()

    def look_up(self, request: Request, count: TokenCounter) -> int:
        """Input tokens shared with an earlier request, in steps of 128 from 1,024 on; remembers this request.

        The rule is OpenAI's (its prompt caching guide): a whole-message prefix stands for the token prefix.
        """
        digest = hashlib.sha256(repr((request.model, request.tools)).encode())
        tokens, shared = request.count_schemas(count), 0
        with self._lock:
            for message in request.messages:
                digest.update(repr(message).encode())
                tokens += count(message.billed_text) + MESSAGE_OVERHEAD
                if digest.digest() in self._seen:
                    shared = tokens
                self._seen.add(digest.digest())
        return shared // _CACHE_STEP * _CACHE_STEP if shared >= _CACHE_MINIMUM else 0
