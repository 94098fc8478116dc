"""The metrics: what the GenAI conventions name by their names, the rest as ``budget.*``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from budgeted_agents.ledgers import Account, Ledger
from budgeted_agents.money import NANO
from budgeted_agents.traces import BudgetEvent, CallRecord
from budgeted_agents.traces.records import spans
from budgeted_agents.traces.records.attributes import operation_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

MOST_ACCOUNTS = 1_000
"""Accounts whose utilization is observed: those called last. A session is an account, so there may be any number."""

_TOKENS = tuple(4**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
"""Buckets, as the conventions advise them."""


class Instruments:
    """What is counted of calls and events.

    Args:
        provider: where metrics go; None for the provider set for the process.
        ledger: observed for ``budget.utilization``; None for no such metric.
        dimensions: attribution that becomes an attribute of ``budget.cost``.
    """

    def __init__(self, provider: MeterProvider | None, ledger: Ledger | None, dimensions: tuple[str, ...]) -> None:
        meter = metrics.get_meter(spans.SCOPE, meter_provider=provider)
        self._dimensions = dimensions
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of a model call.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "Time of a model call.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._cost = meter.create_counter("budget.cost", "{USD}", "What calls were charged.")
        self._refusals = meter.create_counter("budget.refusals", "{call}", "Calls that a budget refused.")
        self._downgrades = meter.create_counter("budget.downgrades", "{call}", "Calls made by a cheaper model.")
        self._ledger = ledger
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._lock = threading.Lock()
        if ledger is not None:
            about = "The share of an account's limit that is spent."
            meter.create_observable_gauge("budget.utilization", [self._utilization], "1", about)

    def call(self, record: CallRecord) -> None:
        if self._ledger is not None:
            self._touch(record)
        if record.kind == "tool":
            return
        about = {"gen_ai.operation.name": operation_of(record), "gen_ai.request.model": record.model_used}
        if record.provider:
            about["gen_ai.provider.name"] = record.provider
        self._count_cost(record, about)
        if record.model_used != record.model_asked:
            self._downgrades.add(1, about | {"budget.model_asked": record.model_asked})
        if record.model_billed:
            about["gen_ai.response.model"] = record.model_billed
        for kind, tokens in (("input", record.input_tokens), ("output", record.output_tokens)):
            if tokens:
                self._tokens.record(tokens, about | {"gen_ai.token.type": kind})
        error = {"error.type": record.error} if record.error else {}
        self._seconds.record(max(0.0, record.ended_at - record.started_at), about | error)

    def event(self, event: BudgetEvent) -> None:
        if event.kind == "refusal":
            self._refusals.add(1, {"budget.name": event.budget, "budget.unit": event.unit})

    def _count_cost(self, record: CallRecord, about: dict[str, str]) -> None:
        who = {f"budget.attribution.{name}": record.attribution.get(name, "") for name in self._dimensions}
        self._cost.add(record.cost / NANO, about | {"budget.outcome": record.outcome} | who)

    def _touch(self, record: CallRecord) -> None:
        with self._lock:
            for key, _, _ in record.holds:
                if key not in self._accounts:
                    self._accounts[key] = Account.from_key(key)
                self._accounts.move_to_end(key)
            while len(self._accounts) > MOST_ACCOUNTS:
                self._accounts.popitem(last=False)

    def _utilization(self, options: CallbackOptions) -> Iterator[Observation]:
        assert self._ledger is not None, "observed only with a ledger"
        with self._lock:
            accounts = list(self._accounts.values())
        for balance in self._ledger.balances(accounts):
            account = balance.account
            about = {"budget.name": account.budget, "budget.unit": account.unit, "budget.account": account.key}
            yield Observation(balance.spent / balance.limit if balance.limit > 0 else 1.0, about)
