"""``what_if``: recorded calls under other policies."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import chain
from pathlib import Path

from budgeted_agents.budget import Budget, BudgetLike, Policy, as_policy
from budgeted_agents.errors import InvalidPolicy, InvalidTrace
from budgeted_agents.prices import PricesLike
from budgeted_agents.prices.dated import parse_day
from budgeted_agents.reports.audit import file_audit, reading_warnings
from budgeted_agents.simulation.order import Timed, in_time_order
from budgeted_agents.simulation.report import PolicyWhatIf, WhatIfReport
from budgeted_agents.simulation.simulation import Simulation
from budgeted_agents.simulation.tiers import Tariff
from budgeted_agents.traces.audit.folding import FileResult
from budgeted_agents.traces.audit.scan import trace_calls
from budgeted_agents.traces.call import TracedCall

Calls = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | TracedCall]
"""Paths of traces, or calls themselves."""

Policies = Mapping[str, BudgetLike] | Sequence[BudgetLike] | BudgetLike
"""Policies by name, or several, or one. Of several without names each budget is a policy of its own."""


def what_if(
    calls: Calls,
    policies: Policies,
    *,
    models: Sequence[str] = (),
    prices: PricesLike = None,
    as_of: date | str | None = None,
    output_limit: int | None = None,
    format: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> WhatIfReport:
    r"""Run other policies over recorded calls, with the very rules of a live run.

    Memory grows with the number of sessions and accounts, not with the number of calls.

    Args:
        calls: files, folders and patterns of traces; or ``TracedCall``\\ s.
        policies: budgets or policy files, by name; without names, they are named after their file or budgets.
        models: models that calls may step down to, best first.
        prices: what models cost: a ``PriceBook``, ``DatedPrices``, or a JSON file in the shape of LiteLLM's list, or of
            several by date.
        as_of: price every call as on this day (``"2025-06-11"``, ``"today"``); by default each as on its own.
        output_limit: the output limit that each call asks for, in tokens; by default its model's longest answer.
        format: the name of the format all files are in; detected if not given.
        progress: is told now and then how many calls are done.

    Raises:
        InvalidPolicy, InvalidBudget: a policy is wrong, there is none, or two share a name.
        UnknownPrice: one of ``models`` has no price.
        InvalidTrace: a path or the format does not exist, or there is no call.
    """
    if output_limit is not None and output_limit < 1:
        raise _invalid("is no number of tokens", "output_limit", output_limit, "Give a number above zero, or None")
    tariff = Tariff(prices, models, parse_day(as_of))
    named = _named(policies)
    simulations = {name: Simulation(policy, tariff, output_limit) for name, policy in named.items()}
    results: list[FileResult] = []
    recorded = in_time_order(_calls_of(calls, format, results))
    try:
        taken = _conduct(simulations.values(), recorded, progress)
        unread = tuple(reading_warnings([file_audit(result) for result in results]))
        if not taken:
            raise _no_calls(calls, unread)
    finally:
        for simulation in simulations.values():
            simulation.close()
    return WhatIfReport(
        tuple(
            PolicyWhatIf(name, named[name], [session.outcome for session in simulation.sessions.values()])
            for name, simulation in simulations.items()
        ),
        unread,
    )


def _conduct(
    simulations: Collection[Simulation], recorded: Iterable[Timed], progress: Callable[[int], None] | None
) -> int:
    """Take all calls, to their end; the number of calls."""
    taken = 0
    for taken, timed in enumerate(recorded, start=1):
        for simulation in simulations:
            simulation.take(timed)
        if progress is not None and taken % 1_000 == 0:
            progress(taken)
    for simulation in simulations:
        simulation.finish()
    return taken


def _calls_of(calls: Calls, format: str | None, results: list[FileResult]) -> Iterable[TracedCall]:
    if isinstance(calls, str | os.PathLike):
        return trace_calls([Path(calls)], format=format, files=results)
    items = iter(calls)
    first = next(items, None)
    if isinstance(first, str | os.PathLike):
        paths = [Path(first), *(Path(path) for path in items if isinstance(path, str | os.PathLike))]
        return trace_calls(paths, format=format, files=results)
    return () if first is None else map(_checked, chain([first], items))


def _checked(item: object) -> TracedCall:
    if isinstance(item, TracedCall):
        return item
    remedy = "Give paths, or TracedCalls: not both in one list"
    raise InvalidTrace("is neither", field="calls", value=item, place="what_if", remedy=remedy)


def _no_calls(calls: Calls, unread: tuple[str, ...]) -> InvalidTrace:
    return InvalidTrace(
        " ".join(("holds no call that can be read.", *unread)).rstrip("."),
        field="calls",
        value=calls,
        place="what_if",
        remedy="Give trace files, or folders of them; --format names the format where it is not recognized",
    )


def _named(policies: Policies) -> dict[str, Policy]:
    if isinstance(policies, Mapping):
        pairs = [(name, as_policy(policy)) for name, policy in policies.items()]
    else:
        one = (Policy, Budget, str, os.PathLike, type(None))
        several = [policies] if isinstance(policies, one) else policies
        pairs = [(_name(policy), as_policy(policy)) for policy in several]
    names = [name for name, _ in pairs]
    problem = "is empty" if not pairs or not all(policy.budgets for _, policy in pairs) else ""
    if problem or len(set(names)) < len(names):
        remedy = 'Give at least one, each with a name of its own: {"tight": Budget(usd="0.50"), ...}'
        raise _invalid(problem or "names two policies alike", "policies", names, remedy)
    return dict(pairs)


def _invalid(problem: str, field: str, value: object, remedy: str) -> InvalidPolicy:
    return InvalidPolicy(problem, field=field, value=value, place="what_if", remedy=remedy)


def _name(policy: BudgetLike) -> str:
    """A file's name without its ending, or the names of the budgets."""
    if isinstance(policy, str | os.PathLike):
        return Path(policy).stem
    return " + ".join(budget.name for budget in as_policy(policy).budgets)
