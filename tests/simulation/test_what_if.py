"""The function, its arguments and its report."""

from __future__ import annotations

import gc
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from budgeted_agents import Budget, what_if
from budgeted_agents.budget import BudgetLike
from budgeted_agents.errors import InvalidPolicy, InvalidTrace
from budgeted_agents.prices import DatedPrices
from tests.reports.audits import HOSTILE
from tests.simulation.support import LARGE, PRICES, SMALL, START, call, calls


def test_policies_without_names_are_named_after_their_budgets_or_files(tmp_path: Path) -> None:
    file = tmp_path / "strict.toml"
    file.write_text("[[budgets]]\nmodel_calls = 2\n")
    policies: list[BudgetLike] = [Budget(usd=1), [Budget(usd=1, name="a"), Budget(usd=2, name="b")], file]
    report = what_if(calls(3), policies, prices=PRICES)
    assert [policy.name for policy in report.policies] == ["session", "a + b", "strict"]


def test_each_policy_has_a_ledger_of_its_own() -> None:
    report = what_if(calls(6), {"a": Budget(model_calls=3), "b": Budget(model_calls=3)}, prices=DatedPrices(PRICES))
    assert [policy.totals.calls_cut for policy in report.policies] == [4, 4]


def test_one_model_may_be_named_alone() -> None:
    report = what_if(calls(3), Budget(usd="0.02"), models=SMALL, prices=PRICES)
    assert report.policies[0].sessions_downgraded == 1


def test_progress_is_told() -> None:
    told: list[int] = []
    what_if((call(n % 10, f"s{n // 10}") for n in range(2_500)), Budget(usd=1), prices=PRICES, progress=told.append)
    assert told == [1_000, 2_000]


@pytest.mark.parametrize(
    ("policies", "problem"),
    [
        ({}, "is empty"),
        ([], "is empty"),
        ({"a": None}, "is empty"),
        ({"a": []}, "lists no budget"),
        ([Budget(usd=1), Budget(usd=2)], "two policies alike"),
    ],
)
def test_policies_have_to_be_told_apart(policies: Any, problem: str) -> None:
    with pytest.raises(InvalidPolicy, match=problem):
        what_if(calls(1), policies)


def test_an_output_limit_is_above_zero() -> None:
    with pytest.raises(InvalidPolicy, match="output_limit=0"):
        what_if(calls(1), Budget(usd=1), output_limit=0)


@pytest.mark.parametrize("nothing", [[], [call(0), "a.jsonl"], 7 * [None]])
def test_calls_have_to_be_calls(nothing: Any) -> None:
    with pytest.raises(InvalidTrace):
        what_if(nothing, Budget(usd=1), prices=PRICES)


def test_a_session_that_several_policies_change_is_in_all_rows() -> None:
    report = what_if(calls(6), {"a": Budget(model_calls=2), "b": Budget(usd=1)}, prices=PRICES)
    rows = report.rows()
    assert [(row["policy"], row["ended_at_call"], row["ending"]) for row in rows] == [
        ("a", 2, "landed"),
        ("b", None, ""),
    ]


def test_a_gate_counts_what_a_budget_in_shadow_mode_would_refuse() -> None:
    report = what_if(calls(6), {"trial": Budget(model_calls=3, mode="shadow")}, prices=PRICES)
    assert report.breaches(fail_over=1) == []
    assert report.breaches(fail_over=0) == ["trial: 1 session would have been refused, more than 0"]


def test_names_from_outside_are_text() -> None:
    policy = {HOSTILE: Budget(model_calls=2)}
    page = StringIO()
    hostile = [call(n, HOSTILE, model_asked=HOSTILE, node=HOSTILE) for n in range(3)]
    Console(file=page, width=120, color_system=None).print(what_if(hostile, policy, prices=PRICES))
    assert "[bold]" in page.getvalue()
    assert "\x1b" not in page.getvalue()


def test_totals_are_the_sums_of_sessions() -> None:
    recorded = [*calls(6), *calls(4, "s2"), *calls(5, "s3", model=SMALL)]
    (policy,) = what_if(recorded, Budget(usd="0.03"), models=[LARGE, SMALL], prices=PRICES).policies
    for name in (
        "calls",
        "tokens",
        "cost",
        "cost_after",
        "calls_cut",
        "cost_cut",
        "downgraded",
        "saved",
        "landing_reserve",
    ):
        assert getattr(policy.totals, name) == sum(getattr(s.outcome, name) for s in policy.sessions), name
    assert policy.totals.cost == (10 * 10 + 5) * 900_000


def test_what_cannot_be_replayed_is_told() -> None:
    recorded = [*calls(2, tokens=5_000), call(3, model="no-such-model")]
    report = what_if(recorded, Budget(usd=1, loops=3, depth=2, context_tokens=4_000), prices=PRICES)
    unpriced, loops, depth, context = report.warnings
    assert unpriced.startswith("1 call left out")
    assert (loops, depth) == tuple(
        f"{name}: not replayed, because traces do not tell them" for name in ("loops", "depth")
    )
    assert context.startswith("2 calls above context_tokens")


def test_an_interruption_comes_out_alone_however_many_calls_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them waits for money that the ones before it hold: what it would clean up must not be told one by one."""
    at_once = [call(0, id=str(number), ended_at=START + 60) for number in range(1_000)]

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with pytest.raises(KeyboardInterrupt):
        what_if(at_once, Budget(usd="0.10", max_wait=60), prices=PRICES, progress=interrupt)
    gc.collect()
    assert not told
