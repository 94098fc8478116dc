"""A worker on a ledger and its journal, to be killed: ``python -m tests.traces.records.working LEDGER SEED``.

It makes calls under a budget forever: reserve, write down, settle, as any governed call does.
"""

from __future__ import annotations

import itertools
import random
import sys

from budgeted_agents.budget import Budget, as_policy
from budgeted_agents.errors import BudgetExceeded
from budgeted_agents.governor import ModelCall, Quote
from budgeted_agents.ledgers import open_ledger
from budgeted_agents.meter import Meter, Run, admit, drive, settle
from budgeted_agents.meter.recording import recorders_of
from budgeted_agents.prices import PriceBook
from budgeted_agents.usage import Usage

MODEL = "gpt-4o-mini"
TTL = 0.5
BUDGETS = [Budget(usd="1000", tokens=10**9), Budget(name="tenant", per="tenant", window="day", usd="5000")]


def meter_on(url: str) -> Meter:
    ledger = open_ledger(url)
    recorders = recorders_of(ledger.url, None, ())
    return Meter(as_policy(BUDGETS), ledger, PriceBook.default(), recorders=recorders, hold_ttl=TTL)


def work(meter: Meter, chance: random.Random, name: str) -> None:
    """One call."""
    price = meter.prices.price(MODEL)
    tokens = chance.randrange(1, 5_000)
    base, rate = price.worst_case(tokens)
    who = {"session": f"{name}-{chance.randrange(3)}", "tenant": "acme"}
    run = Run(f"run-{name}", who["session"])
    call = ModelCall(who, (Quote(0, MODEL, None, tokens, tokens, base, rate, 500),), 500)
    admission = drive(admit(meter, run, call))
    drive(settle(meter, admission, Usage(input=tokens, output=chance.randrange(500)), price))


def main(url: str, seed: int) -> None:
    meter, chance = meter_on(url), random.Random(seed)
    for number in itertools.count():
        try:
            work(meter, chance, f"worker-{seed}")
        except BudgetExceeded:
            return
        if number == 0:
            sys.stdout.write("begun\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
