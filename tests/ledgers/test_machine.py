"""Memory and SQLite do the same, whatever is asked of them in whatever order, and both do what a naive fold says."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from budgeted_agents.errors import BudgetedAgentsError
from budgeted_agents.ledgers import Ledger, MemoryLedger, open_ledger
from budgeted_agents.ledgers.contract import Account, Hold, Reservation

ACCOUNTS = (
    Account("session", (("session", "s1"),)),
    Account("tenant", (("tenant", "acme"),), "m:2026-11"),
    Account("session", (("session", "s1"),), unit="tokens"),
)
LIMITS = (1_000, 1_500, 400)
TTL = 10.0

ids = st.sampled_from([f"call-{number}" for number in range(8)])
amounts = st.integers(0, 600)
chosen = st.lists(st.integers(0, len(ACCOUNTS) - 1), min_size=1, max_size=3, unique=True)


@dataclass
class Naive:
    """The money of every attempt, as a fold over what the ledgers have answered: no rules shared with them."""

    held: dict[str, dict[str, int]] = field(default_factory=dict)
    charged: dict[str, dict[str, int]] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    presumed: set[str] = field(default_factory=set)
    credit: dict[str, int] = field(default_factory=dict)

    def presume(self, id: str) -> None:
        self.charged[id] = self.held.pop(id)
        self.presumed.add(id)

    def forget(self, id: str) -> None:
        """The id is free again, and its charges stay."""
        self.charged[f"{len(self.charged)} calls ago, {id}"] = self.charged.pop(id, {})

    def of(self, key: str) -> tuple[int, int]:
        spent = sum(charges.get(key, 0) for charges in self.charged.values())
        return spent, sum(holds.get(key, 0) for holds in self.held.values())


class LedgersAgree(RuleBasedStateMachine):
    """Each rule asks both ledgers the same, compares their answers, and folds them into the naive model."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.memory: Ledger = MemoryLedger()
        self.sqlite: Ledger = open_ledger(f"sqlite:///{self.folder}/spend.db")
        self.naive = Naive()
        self.now = 100.0

    def both(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """The answer of both ledgers, an error's class included; it must be the same."""
        found = []
        for ledger in (self.memory, self.sqlite):
            try:
                found.append(getattr(ledger, verb)(*args, **kwargs))
            except BudgetedAgentsError as error:
                found.append(type(error))
        assert found[0] == found[1], (verb, args, kwargs)
        return found[0]

    @rule(id=ids, on=chosen, base=amounts, rate=st.integers(0, 3_000), steps=st.tuples(amounts, amounts), keep=amounts)
    def reserve(self, id: str, on: list[int], base: int, rate: int, steps: tuple[int, int], keep: int) -> None:
        holds = [Hold(ACCOUNTS[n], LIMITS[n], base, rate, keep if n == 0 else 0) for n in on]
        before = {entry.id for entry in self.memory.entries()}
        self._expire_first_due()
        answer = self.both("reserve", id, holds, floor=min(steps), ask=max(steps), now=self.now, ttl=TTL, session="s")
        if isinstance(answer, Reservation) and id not in before:
            assert min(steps) <= answer.granted <= max(steps)
            self.naive.held[id] = {account.key: amount for account, amount in answer.held}
            self.naive.deadlines[id] = self.now + TTL

    def _expire_first_due(self) -> None:
        """A reserve presumes what is overdue before it decides; there are never more than it takes on in one go."""
        for id, deadline in self.naive.deadlines.items():
            if id in self.naive.held and deadline <= self.now:
                self.overdue = True
        if getattr(self, "overdue", False):
            self.expire()
            self.overdue = False

    @rule(id=ids, usd=amounts, tokens=amounts)
    def settle(self, id: str, usd: int, tokens: int) -> None:
        answer = self.both("settle", id, {"usd": usd, "tokens": tokens}, now=self.now)
        if not isinstance(answer, type) and not answer.replayed:
            keys = self.naive.held.pop(id, None) or self.naive.charged[id]
            self.naive.charged[id] = {key: tokens if key.endswith("|tokens") else usd for key in keys}
            self.naive.presumed.discard(id)

    @rule(id=ids)
    def release(self, id: str) -> None:
        answer = self.both("release", id, now=self.now)
        if answer is not None and not isinstance(answer, type):
            self.naive.held.pop(id, None)
            self.naive.charged.pop(id, None)
            self.naive.presumed.discard(id)

    @rule(id=ids)
    def presume(self, id: str) -> None:
        answer = self.both("presume", id, now=self.now)
        if not isinstance(answer, type) and id in self.naive.held:
            self.naive.presume(id)

    @rule(id=ids, ttl=st.floats(1, 30))
    def extend(self, id: str, ttl: float) -> None:
        if self.both("extend", id, ttl=ttl, now=self.now):
            self.naive.deadlines[id] = max(self.naive.deadlines[id], self.now + ttl)

    @rule()
    def expire(self) -> None:
        due = {id for id in self.naive.held if self.naive.deadlines[id] <= self.now}
        assert {settlement.id for settlement in self.both("expire", self.now)} == due
        for id in due:
            self.naive.presume(id)

    @rule(id=ids, on=st.integers(0, len(ACCOUNTS) - 1), amount=amounts)
    def credit(self, id: str, on: int, amount: int) -> None:
        account = ACCOUNTS[on]
        known = f"credit-{id}" in self.naive.credit
        answer = self.both("credit", f"credit-{id}", account, amount, limit=LIMITS[on], now=self.now)
        if not isinstance(answer, type) and not known:
            self.naive.credit[f"credit-{id}"] = amount

    @rule(ago=st.floats(0, 40), limit=st.integers(0, 3))
    def forget(self, ago: float, limit: int) -> None:
        known = {entry.id for entry in self.memory.entries()}
        assert self.both("forget", self.now - ago, limit) <= limit
        for id in known - {entry.id for entry in self.memory.entries()}:
            self.naive.forget(id)

    @rule(seconds=st.floats(0.5, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        """What a file holds survives the process."""
        self.sqlite.close()
        self.sqlite = open_ledger(f"sqlite:///{self.folder}/spend.db")

    @invariant()
    def balances_agree_and_add_up(self) -> None:
        if not hasattr(self, "memory"):
            return
        for balance in self.both("balances", ACCOUNTS):
            assert balance.limit == balance.available + balance.spent + balance.held
            assert (balance.spent, balance.held) == self.naive.of(balance.account.key)
        entries = [list(ledger.entries()) for ledger in (self.memory, self.sqlite)]
        assert entries[0] == entries[1]

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.memory.close()
            self.sqlite.close()
            shutil.rmtree(self.folder)


TestLedgersAgree = LedgersAgree.TestCase
TestLedgersAgree.settings = settings(max_examples=60, stateful_step_count=30)
