"""What the meter's tests share: a governed rig over a real ledger and real prices, with a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from budgeted_agents.budget import Budget, Policy
from budgeted_agents.errors import LedgerUnavailable
from budgeted_agents.governor import ModelCall, Quote
from budgeted_agents.ledgers.contract import Balance, Ledger
from budgeted_agents.meter import Admission, BudgetEvent, Meter, Pause, Run, Steps, admit, drive, settle
from budgeted_agents.meter.steps import Effect
from budgeted_agents.prices import Price, PriceBook
from budgeted_agents.usage import Usage

T = TypeVar("T")

START = 1_800_000_000.0
"""Seconds since the epoch: 2027-01-15 08:00:00 UTC, the first second of a minute."""

PRICES = PriceBook.default()
GPT, MINI = "gpt-4o", "gpt-4o-mini"


def _unseen(seconds: float) -> None:
    """Nobody looks at this pause."""


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


class Faulty:
    """A real ledger that cannot be reached while ``down`` is set."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.down = ledger, False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.ledger, name)
        if not callable(found):
            return found

        def verb(*args: Any, **kwargs: Any) -> Any:
            if self.down:
                raise LedgerUnavailable("the ledger is away")
            return found(*args, **kwargs)

        return verb


@dataclass
class Rig:
    """A meter, a run, and the events they brought about."""

    ledger: Ledger
    budgets: Sequence[Budget]
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    events: list[BudgetEvent] = field(default_factory=list)
    run: Run = field(default_factory=lambda: Run("r1", "s1"))

    def __post_init__(self) -> None:
        policy = Policy(tuple(self.budgets), self.classes)
        self.meter = Meter(policy, self.ledger, PRICES, listeners=(self.events.append,), clock=self.clock)

    def call(
        self,
        *models: str,
        tokens: int = 8_000,
        limit: int = 16_000,
        useful: int = 1_000,
        cached: Mapping[str, int] | None = None,
        attribution: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ModelCall:
        quotes = []
        for index, model in enumerate(models or (GPT,)):
            price, held_back = price_of(model), (cached or {}).get(model, 0)
            base, rate = price.worst_case(tokens)
            likely = Usage(input=tokens - held_back, cache_read=held_back, output=useful)
            kind = self.meter.policy.model_class(model)
            quotes.append(Quote(index, model, kind, tokens, tokens, base, rate, limit, price.cost(likely)))
        return ModelCall({"session": "s1", **(attribution or {})}, tuple(quotes), useful, **fields)

    def admit(self, *models: str, **fields: Any) -> Admission:
        return drive(admit(self.meter, self.run, self.call(*models, **fields)))

    def spend(self, admission: Admission, tokens: int = 8_000, output: int = 500, **fields: Any) -> Any:
        usage = Usage(input=tokens, output=output)
        return drive(settle(self.meter, admission, usage, price_of(admission.way.quote.model), **fields)).record()

    def balance(self, budget: str = "session", unit: str = "usd") -> Balance:
        found = [a for a in self.ledger.accounts() if (a.budget, a.unit) == (budget, unit)]
        assert len(found) == 1
        return self.ledger.balances(found)[0]

    def held(self) -> int:
        return sum(balance.held for balance in self.ledger.balances(self.ledger.accounts()))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def perform(self, effect: Effect) -> Any:
        """Do what a step asks for; to wait is to move the clock on."""
        if not isinstance(effect, Pause):
            return effect()
        self.clock.now += effect.seconds
        return None

    def by_hand(self, steps: Steps[T], first: Effect | None = None, on_pause: Callable[[float], None] = _unseen) -> T:
        """Conduct steps without waiting, from the effect that they gave last if they have begun."""
        try:
            effect = next(steps) if first is None else first
            while True:
                try:
                    result = self.perform(effect)
                    if isinstance(effect, Pause):
                        on_pause(effect.seconds)
                except Exception as error:  # noqa: BLE001 -- the generator decides
                    effect = steps.throw(error)
                else:
                    effect = steps.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def price_of(model: str) -> Price:
    return PRICES.price(model)


def worst(model: str, tokens: int, output: int) -> int:
    """The worst case of a call, in nano-USD."""
    base, rate = price_of(model).worst_case(tokens)
    return base - (-output * rate // 1000)
