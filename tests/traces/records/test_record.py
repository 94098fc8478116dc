"""A record survives its JSON form, and says nothing twice."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted_agents.traces import CallRecord
from tests.traces.records.strategies import record_of

names = st.text(max_size=8)
counts = st.integers(0, 2**63 - 1)
records = st.builds(
    record_of,
    id=names,
    kind=st.sampled_from(("model", "tool")),
    session=names,
    run=names,
    started_at=st.floats(0, 1e10),
    ended_at=st.floats(0, 1e10),
    outcome=st.sampled_from(("settled", "released", "presumed")),
    step=st.none() | st.integers(-1, 5),
    attribution=st.dictionaries(names, names, max_size=3),
    model_asked=names,
    usage=st.dictionaries(names, counts, max_size=3),
    unit_prices=st.dictionaries(names, names, max_size=3),
    reserved=counts,
    cost=counts,
    granted=counts,
    output_limit=st.none() | counts,
    flags=st.lists(names, max_size=3).map(tuple),
    error=names,
)


@given(records)
def test_a_record_is_the_same_after_json(record: CallRecord) -> None:
    assert CallRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def bare(**fields: Any) -> CallRecord:
    required: dict[str, Any] = {
        "id": "",
        "kind": "model",
        "session": "",
        "run": "",
        "started_at": 0.0,
        "ended_at": 0.0,
        "outcome": "settled",
    }
    return CallRecord(**{**required, **fields})


def test_what_must_be_given_and_the_cost_are_always_there() -> None:
    assert bare().to_json() == {
        "id": "",
        "kind": "model",
        "session": "",
        "run": "",
        "started_at": 0.0,
        "ended_at": 0.0,
        "outcome": "settled",
        "cost": 0,
    }


def test_any_mapping_becomes_a_json_object() -> None:
    record = bare(attribution=MappingProxyType({"node": "writer"}))
    assert json.loads(json.dumps(record.to_json()))["attribution"] == {"node": "writer"}
    assert record.node == "writer"


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert CallRecord.from_json({**bare().to_json(), "mood": "good"}) == bare()


def test_tokens_are_those_of_the_usage() -> None:
    record = bare(usage={"input_tokens": 7, "output_tokens": 3})
    assert (record.input_tokens, record.output_tokens) == (7, 3)
    assert (bare().input_tokens, bare().output_tokens, bare().node) == (0, 0, "")


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        bare().cost = 5  # type: ignore[misc]
