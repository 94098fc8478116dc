"""The fold over calls: what it adds up, and that it does not matter who added which call."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.prices import DatedPrices, PriceBook
from budgeted_agents.traces.audit.audit import Audit
from budgeted_agents.traces.audit.sessions import conclude
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.usage import Usage


def row(million: int) -> dict[str, Any]:
    return {"input_cost_per_token": f"{million}e-6", "output_cost_per_token": f"{5 * million}e-6"}


PRICES = DatedPrices(PriceBook({"small": row(1), "large": row(10) | {"provider_specific_entry": {"us": "1.1"}}}))
HUNDRED = Usage(input=100)  # 100,000 nano-USD by the small model


def model_call(id: str = "1", session: str = "s", model: str = "small", **more: Any) -> TracedCall:
    return TracedCall(id=id, session=session, model=model, **{"usage": HUNDRED, **more})


def audited(calls: Iterable[TracedCall]) -> Audit:
    audit = Audit(PRICES)
    for call in calls:
        audit.add(call)
    audit.settle()
    return audit


names = st.sampled_from(["", "a", "b"])
amounts = st.one_of(st.none(), st.decimals(0, 1, places=6))
calls = st.lists(
    st.builds(
        TracedCall,
        id=st.just("x"),
        session=names,
        kind=st.sampled_from(["model", "embedding", "tool", "statement"]),
        model=st.sampled_from(["small", "large", "unknown", ""]),
        model_asked=st.sampled_from(["", "large"]),
        usage=st.builds(Usage, st.integers(0, 1000), st.integers(0, 1000), output=st.integers(0, 100)),
        recorded_cost=amounts,
        region=st.sampled_from(["", "", "us", "eu"]),
        started_at=st.sampled_from([0.0, 1.7e9, 1.8e9]),
        node=names,
        tool=names,
        fingerprint=names,
        attribution=st.dictionaries(st.sampled_from(["tenant", "feature"]), names),
        error=names,
        turns=st.integers(0, 3),
        succeeded=st.sampled_from([None, True, False]),
    )
)


@given(calls, st.integers(0, 20))
def test_parts_merge_to_the_whole(calls: list[TracedCall], cut: int) -> None:
    """Also through a pickle, as from another process."""
    whole, first, second = audited(calls), audited(calls[:cut]), audited(calls[cut:])
    total = Audit(PRICES)
    for part in (first, second):
        total.merge(pickle.loads(pickle.dumps(part)))
    assert total.sessions == whole.sessions
    assert total.groups == whole.groups
    assert (total.premium_cost, total.price_sources) == (whole.premium_cost, whole.price_sources)


@given(calls)
def test_every_grouping_has_every_call(calls: list[TracedCall]) -> None:
    audit = audited(calls)
    models = [call for call in calls if call.kind in ("model", "embedding")]
    for dimension in ("model", "node", "tenant", "feature", "day"):
        assert sum(tally.calls for tally in audit.groups[dimension].values()) == len(models)
        assert sum(tally.cost for tally in audit.groups[dimension].values()) == sum(
            session.cost for session in audit.sessions.values()
        )
    assert sum(sum(session.verdicts.values()) for session in audit.sessions.values()) == len(models)


def test_more_places_than_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgeted_agents.traces.audit.audit._MOST_PLACES", 2)
    audit = audited(model_call(node=f"n{i % 5}") for i in range(20))
    assert {name: tally.calls for name, tally in audit.groups["node"].items()} == dict.fromkeys(
        ("n0", "n1", "n2", "n3", "n4"), 4
    )


def test_an_audit_out_of_a_pickle_is_only_there_to_be_merged() -> None:
    copy = pickle.loads(pickle.dumps(audited([model_call()])))
    with pytest.raises(RuntimeError, match="has no prices"):
        copy.add(model_call())


def test_a_repeated_tool_call_costs_what_the_answer_cost_that_asked_again() -> None:
    asks = [(("search", "x"),), (("search", "y"), ("search", "x")), (("search", ""),), (("read", "x"),)]
    audit = audited(model_call(tools=tools) for tools in asks)
    loops = audit.sessions["s"].loops
    assert loops is not None
    assert (loops.repeats, loops.cost, loops.costless) == (1, 50_000, 0)
    assert audit.sessions["s"].tool_calls == 5
    assert audit.groups["tool"]["search"].cost == 300_000


def test_tools_with_spans_of_their_own() -> None:
    tool = TracedCall(id="t", session="s", kind="tool", tool="search", fingerprint="x")
    audit = audited([model_call(), tool, tool])
    session = audit.sessions["s"]
    assert (session.calls, session.tool_calls) == (1, 2)
    assert session.loops is not None
    assert session.loops.costless == 1


def test_downgrades_are_cheaper_models_and_not_other_names() -> None:
    audit = audited(
        [
            model_call(model_asked="large"),
            model_call(model_asked="unknown"),
            model_call(model_asked="provider/small"),
            model_call(model="large", model_asked="small"),
        ]
    )
    assert audit.sessions["s"].downgrades == 1


def test_a_call_costs_what_it_costs_where_it_was_served() -> None:
    """By its own region, though it shares a place with calls of others."""
    audit = audited(model_call(model="large", region=region) for region in ("", "us", "eu", "us"))
    assert audit.sessions["s"].cost == audit.groups["model"]["large"].cost == 4_200_000
    (stated,) = audited([model_call(kind="statement", model="large", region="us")]).sessions["s"].statements()
    assert stated[1].cost == 1_100_000


def test_a_price_that_only_the_trace_knows_is_flagged() -> None:
    logged = PriceBook({"unknown": row(3)}, source="the log").price("unknown")
    audit = audited([model_call(logged_price=logged), model_call(session="t", model="unknown", logged_price=logged)])
    assert audit.groups["model"]["unknown"].cost == 300_000
    assert {name: set(session.flags) for name, session in audit.sessions.items()} == {
        "s": set(),
        "t": {"priced_by_log"},
    }
    assert audit.price_sources == {"own prices", "the log"}


def test_clocks_that_are_off_are_no_day() -> None:
    times = [0.0, -5.0, float("nan"), float("inf"), 1e300]
    assert set(audited(model_call(started_at=time) for time in times).groups["day"]) == {""}


def test_failures_are_paid_for() -> None:
    session = audited([model_call(), model_call(error="RateLimitError")]).sessions["s"]
    assert (session.failed, session.failed_cost, session.cost) == (1, 100_000, 200_000)


def test_one_ratio_over_a_session_is_told_apart_from_mismatches() -> None:
    off = [model_call(usage=Usage(input=n), recorded_cost=Decimal(n * 1667) / 10**9) for n in (100, 333, 1000)]
    assert conclude(audited(off).sessions["s"]).verdict == "constant_ratio"
    other = model_call(usage=Usage(input=100), recorded_cost=Decimal("0.00071"))
    assert conclude(audited([*off, other]).sessions["s"]).verdict == "mismatch"


def statement(recorded: str | None, usage: Usage | None = None, **more: Any) -> TracedCall:
    cost = None if recorded is None else Decimal(recorded)
    given: dict[str, Any] = {"model": "small", "usage": usage} if usage else {}
    return TracedCall(id="st", session="s", kind="statement", recorded_cost=cost, **given, **more)


@pytest.mark.parametrize(
    ("calls", "verdict", "gap", "flags"),
    [
        ([statement("0.0001", HUNDRED)], "exact", None, {"session_only"}),
        ([statement("0.0001")], "unpriced", None, {"session_only"}),
        ([model_call(), statement("0.0001")], "exact", 0, set()),
        ([model_call(), statement("0.0003")], "mismatch", 200_000, {"calls_missing"}),
        ([model_call(), statement("0.0003", Usage(input=300))], "exact", 200_000, {"calls_missing"}),
        ([model_call(), statement("0.00005")], "mismatch", -50_000, {"calls_extra"}),
        ([model_call(recorded_cost=Decimal("0.0001")), statement("0.0003")], "exact", 200_000, {"calls_missing"}),
        ([model_call(), statement(None, turns=2)], "recorded_missing", None, set()),
        ([model_call(model="unknown"), statement("0.0003")], "unpriced", None, set()),
    ],
)
def test_calls_and_statements(calls: list[TracedCall], verdict: str, gap: int | None, flags: set[str]) -> None:
    found = conclude(audited(calls).sessions["s"])
    assert (found.verdict, found.gap, set(found.flags)) == (verdict, gap, flags)


def test_outcomes() -> None:
    audit = audited([statement(None, turns=2, succeeded=True), statement(None, turns=1, succeeded=False)])
    assert (audit.sessions["s"].turns, audit.sessions["s"].succeeded) == (3, False)


def test_a_statement_that_speaks_of_no_calls_is_none() -> None:
    """What users asked for, alone, has no price to be missed."""
    audit = audited([statement(None, calls=0, turns=2)])
    found = conclude(audit.sessions["s"])
    assert (found.figures.calls, found.figures.unpriced, dict(found.verdicts)) == (0, 0, {})
    assert audit.sessions["s"].turns == 2
    assert all(tally.calls == 0 for group in audit.final_groups().values() for tally in group.values())


def test_its_size_does_not_grow_with_calls() -> None:
    """Not even where every call asks for a tool with arguments of its own."""

    def size(calls: int) -> int:
        made = (
            model_call(session=f"s{number % 5}", node=f"n{number % 3}", tools=(("search", str(number)),))
            for number in range(calls)
        )
        return len(pickle.dumps(audited(made)))

    assert size(20_000) < 1.2 * size(4_000)
