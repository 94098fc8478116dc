"""LiteLLM: who a call was for, what it used and what the proxy says it cost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents import replay
from budgeted_agents.traces.call import CACHE_NOT_RECORDED, CLIENT_CACHE_HIT, NO_USAGE_RECORDED
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.litellm import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.lines import write_lines
from tests.traces.formats.samples import samples
from tests.traces.formats.support import imported, written

REPORTED = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
SUMS = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
CALLED = {"function": {"name": "search", "arguments": '{"q": "x"}'}}


def payload(id: str = "chatcmpl-1", metadata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A standard logging payload."""
    return {
        "id": id,
        "trace_id": "trace-1",
        "call_type": "acompletion",
        "response_cost": 0.0012,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": 1737710446.5,
        "endTime": 1737710448.0,
        "model": "gpt-4o-2024-08-06",
        "model_group": "gpt-4o",
        "cache_hit": None,
        **SUMS,
        "metadata": {"usage_object": REPORTED} | (metadata or {}),
    } | fields


def row(**fields: Any) -> dict[str, Any]:
    """A row of the spend logs, whose metadata are text."""
    return {
        "request_id": "chatcmpl-2",
        "session_id": "session-1",
        "call_type": "acompletion",
        "spend": "0.00042",
        "startTime": "2025-01-24 09:20:46.500000",
        "endTime": "2025-01-24T09:20:48Z",
        "model": "gpt-4o",
        "cache_hit": "None",
        **SUMS,
        "metadata": json.dumps({"usage_object": REPORTED, "user_api_key_team_alias": "research"}),
    } | fields


def test_a_payload_says_who_what_and_how_much(tmp_path: Path) -> None:
    who = {
        "user_api_key_hash": "88dc28",
        "user_api_key_alias": "ci",
        "user_api_key_team_id": "t1",
        "user_api_key_org_id": "o1",
        "user_api_key_user_id": "u1",
        "user_api_key_end_user_id": "customer",
    }
    source = written(tmp_path, "log.json", payload(metadata=who, request_tags=["a", "b"]))
    (call,) = imported(FORMAT, source).models
    assert (call.id, call.session, call.kind) == ("chatcmpl-1", "trace-1", "model")
    assert (call.model, call.model_asked, call.provider) == ("gpt-4o-2024-08-06", "gpt-4o", "openai")
    assert call.usage == Usage(input=40, cache_read=60, output=15, reasoning=5)
    assert call.recorded_cost == Decimal("0.0012")
    assert call.ended_at - call.started_at == 1.5
    assert call.flags == ()
    assert call.attribution == {
        "tenant": "t1",
        "organization": "o1",
        "key": "ci",
        "user": "u1",
        "end_user": "customer",
        "tags": "a,b",
    }


def test_a_row_of_the_spend_logs_says_the_same_in_words(tmp_path: Path) -> None:
    who = {"user": "u1", "end_user": "customer", "api_key": "88dc28", "organization_id": "o1", "agent_id": "planner"}
    (call,) = imported(FORMAT, write_lines(tmp_path / "spend.jsonl", row(**who, request_tags='["a"]'))).models
    assert (call.id, call.session, call.node) == ("chatcmpl-2", "session-1", "planner")
    assert call.usage == Usage(input=40, cache_read=60, output=15, reasoning=5)
    assert call.recorded_cost == Decimal("0.00042")
    assert call.started_at == 1737710446.5
    assert call.ended_at == 1737710448.0
    assert call.attribution["tenant"] == "research"
    assert call.attribution["key"] == "88dc28"
    assert call.attribution["tags"] == "a"


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_arrays_and_lines_are_read_alike(tmp_path: Path, name: str) -> None:
    source = written(tmp_path, name, [row(request_id="a"), row(request_id="b")])
    assert [call.id for call in imported(FORMAT, source).models] == ["a", "b"]


@pytest.mark.parametrize("hit", [True, "True", "true"])
def test_an_answer_from_the_cache_is_no_providers(tmp_path: Path, hit: object) -> None:
    (call,) = imported(FORMAT, write_lines(tmp_path / "a.jsonl", payload(cache_hit=hit, response_cost=0))).models
    assert call.flags == (CLIENT_CACHE_HIT,)


def test_sums_alone_hide_the_cache(tmp_path: Path) -> None:
    (call,) = imported(FORMAT, write_lines(tmp_path / "a.jsonl", row(metadata="{}"))).models
    assert call.usage == Usage(input=100, output=20)
    assert call.flags == (CACHE_NOT_RECORDED,)


def test_a_failure_says_what_failed(tmp_path: Path) -> None:
    nothing = dict.fromkeys(SUMS, 0) | {"status": "failure", "response_cost": 0}
    source = write_lines(
        tmp_path / "a.jsonl",
        payload("a", {"usage_object": None}, **nothing, error_information={"error_class": "RateLimitError"}),
        payload("b", {"usage_object": None}, **nothing),
    )
    calls = imported(FORMAT, source).models
    assert [call.error for call in calls] == ["RateLimitError", "failure"]
    assert {call.flags for call in calls} == {(NO_USAGE_RECORDED,)}


def test_tools_and_embeddings_are_told_apart(tmp_path: Path) -> None:
    tool = row(request_id="b", call_type="call_mcp_tool", mcp_namespaced_tool_name="docs/search", spend=0)
    source = write_lines(tmp_path / "a.jsonl", row(request_id="a", call_type="aembedding"), tool)
    embedding, called = imported(FORMAT, source).calls
    assert embedding.kind == "embedding"
    assert (called.kind, called.tool, called.model) == ("tool", "docs/search", "")


def test_tools_that_an_answer_asks_for_are_named(tmp_path: Path) -> None:
    response = {"choices": [{"message": {"tool_calls": [CALLED, CALLED, {"function": {}}]}}]}
    (call,) = imported(FORMAT, write_lines(tmp_path / "a.jsonl", payload(response=response))).models
    (first, again) = call.tools
    assert first == again
    assert first[0] == "search"


@pytest.mark.parametrize(("tier", "expected"), [("flex", "flex"), ("default", ""), ("auto", "")])
def test_only_a_tier_with_prices_of_its_own_counts(tmp_path: Path, tier: str, expected: str) -> None:
    (call,) = imported(
        FORMAT, write_lines(tmp_path / "a.jsonl", payload(model_parameters={"service_tier": tier}))
    ).models
    assert call.service_tier == expected


PRICE = {"key": "in-house", "input_cost_per_token": 2e-6, "output_cost_per_token": 1e-5, "litellm_provider": "openai"}


def stating(price: Any, **more: Any) -> dict[str, Any]:
    return {"model_map_information": {"model_map_key": "in-house", "model_map_value": price}} | more


def test_the_price_that_the_proxy_had_comes_along(tmp_path: Path) -> None:
    """The same in both shapes, and one object for all calls at one price."""
    logs = [payload("a", **stating(PRICE)), payload("b", **stating(PRICE))]
    source = write_lines(
        tmp_path / "a.jsonl", *logs, row(metadata=json.dumps({"usage_object": REPORTED} | stating(PRICE)))
    )
    prices = [call.logged_price for call in imported(FORMAT, source).models]
    assert prices[0] is prices[1] is prices[2]
    assert prices[0] is not None
    assert prices[0].unit_prices() == {"input": "0.000002", "output": "0.00001"}


@pytest.mark.parametrize(
    "price",
    [
        None,
        {},
        PRICE | {"input_cost_per_token": None},
        PRICE | {"input_cost_per_token": 0, "output_cost_per_token": 0},  # so LiteLLM fills in what it does not know
        PRICE | {"input_cost_per_token": 0, "output_cost_per_token": 0, "max_input_tokens": []},
    ],
)
def test_no_price_is_not_a_price_of_zero(tmp_path: Path, price: Any) -> None:
    found = imported(FORMAT, write_lines(tmp_path / "a.jsonl", payload(**stating(price))))
    assert [call.logged_price for call in found.models] == [None]
    assert found.problems == []


@pytest.mark.parametrize("bad", [-1, "much", 3, True, []])
def test_a_bad_price_leaves_the_call(tmp_path: Path, bad: Any) -> None:
    found = imported(
        FORMAT, write_lines(tmp_path / "a.jsonl", payload(**stating(PRICE | {"input_cost_per_token": bad})))
    )
    assert [call.logged_price for call in found.models] == [None]
    assert "the price it states is none" in found.problems[0]


def test_a_stated_price_holds_where_the_call_was_served(tmp_path: Path) -> None:
    price = PRICE | {"provider_specific_entry": {"us": 1.5}, "regional_processing_uplift_multiplier_eu": 2}
    reported = REPORTED | {"inference_geo": "us"}
    source = write_lines(
        tmp_path / "a.jsonl",
        payload("a", {"usage_object": reported}, **stating(price)),
        payload("b", **stating(price, cost_breakdown={"data_residency": "eu"})),
        payload("c", **stating(price, cost_breakdown={"vertex_location": "us-central1"})),
    )
    calls = imported(FORMAT, source).models
    assert [call.region for call in calls] == ["us", "eu", "us-central1"]
    inputs = [call.logged_price.unit_prices()["input"] for call in calls if call.logged_price is not None]
    assert inputs == ["0.000003", "0.000004", "0.000002"]


@pytest.mark.parametrize(
    ("basis", "input_price"),
    [
        ({"discount_percent": 0.05}, "0.0000019"),
        ({"margin_percent": 0.1}, "0.0000022"),
        ({"discount_percent": 0.05, "margin_percent": 0.1}, "0.00000209"),
        ({"discount_percent": 0, "margin_percent": None}, "0.000002"),
        ({"discount_percent": 1}, "0.000002"),
        ({"discount_percent": 1e400, "margin_percent": -1}, "0.000002"),
        ({"discount_percent": "much", "margin_percent": True}, "0.000002"),
    ],
)
def test_a_discount_and_a_margin_are_part_of_the_price_that_the_proxy_had(
    tmp_path: Path, basis: dict[str, Any], input_price: str
) -> None:
    (call,) = imported(
        FORMAT, write_lines(tmp_path / "a.jsonl", payload(**stating(PRICE, cost_breakdown=basis)))
    ).models
    assert call.logged_price is not None
    assert call.logged_price.unit_prices()["input"] == input_price


def test_a_discounted_cost_is_no_mismatch(tmp_path: Path) -> None:
    price = {"input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5, "litellm_provider": "openai"}
    used = {"model": "gpt-4o", "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    discounted = payload(
        "a",
        {"usage_object": None},
        response_cost=0.003325,
        **used,
        **stating(price, cost_breakdown={"discount_percent": 0.05}),
    )
    (session,) = replay(write_lines(tmp_path / "a.jsonl", discounted).path).sessions
    assert session.verdict == "explained_by_logged_price"


def test_claude_says_where_and_how_it_answered(tmp_path: Path) -> None:
    reported = REPORTED | {"inference_geo": "us", "speed": "fast"}
    source = write_lines(tmp_path / "a.jsonl", payload("a", {"usage_object": reported}), payload("b"))
    assert [(call.service_tier, call.region) for call in imported(FORMAT, source).models] == [("fast", "us"), ("", "")]


def test_a_key_in_the_clear_never_enters(tmp_path: Path) -> None:
    (call,) = imported(FORMAT, write_lines(tmp_path / "a.jsonl", row(api_key="sk-secret"))).models
    assert "key" not in call.attribution


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b'{"id": "cut off', "is no JSON"),
        (row(request_id=None), "neither id nor request_id"),
        (row(metadata="{}", prompt_tokens=-1), "prompt_tokens=-1: is negative"),
        (row(metadata="{}", prompt_tokens=True), "prompt_tokens=True"),
    ],
)
def test_a_bad_record_costs_itself(tmp_path: Path, bad: Any, says: str) -> None:
    source = write_lines(tmp_path / "a.jsonl", row(request_id="a"), bad, row(request_id="b"))
    found = imported(FORMAT, source)
    assert [call.id for call in found.models] == ["a", "b"]
    assert source.problems.skipped == 1
    assert found.problems[0].startswith(f"{source.path}:2")
    assert says in found.problems[0]


def test_a_bad_cost_leaves_the_call(tmp_path: Path) -> None:
    found = imported(FORMAT, write_lines(tmp_path / "a.jsonl", row(spend="much")))
    assert [call.recorded_cost for call in found.models] == [None]
    assert "much" in found.problems[0]


def test_a_real_row_equals_what_was_counted_independently() -> None:
    for file in samples("litellm"):
        found = imported(FORMAT, FileSource(file))
        (call,) = found.models
        assert (call.session, call.model, call.provider) == ("1234567890", "gpt-4o", "openai")
        assert call.usage == Usage(input=10, output=20)
        assert call.recorded_cost == Decimal("0.00022500000000000002")
        assert found.problems == []
