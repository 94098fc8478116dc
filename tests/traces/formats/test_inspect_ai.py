"""inspect_ai logs."""

from __future__ import annotations

import json
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.traces.call import CLIENT_CACHE_HIT, LOCAL_MODEL, NO_USAGE_RECORDED
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats.inspect_ai import FORMAT
from budgeted_agents.usage import Usage
from tests.traces.formats.examples import INSPECT_AI
from tests.traces.formats.support import Imported, imported, written

SAMPLE: dict[str, Any] = INSPECT_AI["samples"][0]
MODEL, TOOL = SAMPLE["events"][1:]


def log(folder: Path, *samples: dict[str, Any], **fields: Any) -> Imported:
    return imported(FORMAT, written(folder, "log.json", {**INSPECT_AI, "samples": list(samples), **fields}))


def archive(folder: Path, *samples: Any, **parts: Any) -> FileSource:
    path = folder / "log.eval"
    spec, stats = {"eval": INSPECT_AI["eval"]}, {"eval": INSPECT_AI["eval"], "stats": INSPECT_AI["stats"]}
    members = {"_journal/start.json": spec, **{f"samples/{i}.json": sample for i, sample in enumerate(samples)}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**members, "summaries.json": [], "header.json": stats, **parts}.items():
            file.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return FileSource(path)


def test_model_events_are_calls_and_tool_events_are_tools(tmp_path: Path) -> None:
    found = log(tmp_path, SAMPLE)
    (call,) = found.models
    assert (call.id, call.session, call.node) == ("e1", "popularity/1/2@run-1", "solver")
    assert (call.model, call.model_asked, call.provider) == ("gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini", "openai")
    assert (call.usage, call.recorded_cost) == (Usage(63, output=2), None)
    assert (call.started_at, call.ended_at) == (1739305020.0, 1739305020.5)
    (tool,) = found.of("tool")
    assert (tool.tool, tool.error, tool.fingerprint != "") == ("bash", "timeout", True)
    assert found.problems == []


def test_the_sample_is_stated_in_sum(tmp_path: Path) -> None:
    told = log(tmp_path, SAMPLE).statement
    assert (told.usage, told.calls, told.turns, told.succeeded) == (Usage(63, output=2), 1, 1, True)


def test_each_model_of_a_sample_is_stated_and_the_first_says_how_it_ended(tmp_path: Path) -> None:
    usage = {"model_usage": {"a/x": {"input_tokens": 1, "total_cost": 0.5}, "b/y": {"input_tokens": 2}}}
    found = log(tmp_path, {**SAMPLE, **usage}, stats={})
    assert [
        (call.model, call.usage, call.recorded_cost, call.turns, call.succeeded) for call in found.of("statement")
    ] == [("a/x", Usage(1), Decimal("0.5"), 1, True), ("b/y", Usage(2), None, 0, None)]


def test_a_log_without_its_samples_is_stated_by_its_header(tmp_path: Path) -> None:
    for samples in ([], [{**SAMPLE, "events": [], "model_usage": {}}]):
        told = log(tmp_path, *samples).of("statement")[-1]
        assert (told.session, told.model, told.usage) == ("popularity@run-1", "openai/gpt-4o-mini", Usage(63, output=2))


def test_a_sample_without_events_is_stated_once(tmp_path: Path) -> None:
    found = log(tmp_path, {**SAMPLE, "events": []})
    assert (found.models, found.statement.usage, found.problems) == ([], Usage(63, output=2), [])


def test_an_archive_tells_the_same_as_its_json(tmp_path: Path) -> None:
    from_archive = imported(FORMAT, archive(tmp_path, SAMPLE))
    assert from_archive.calls == log(tmp_path, SAMPLE).calls
    assert from_archive.problems == []


def test_a_damaged_sample_costs_only_itself(tmp_path: Path) -> None:
    found = imported(FORMAT, archive(tmp_path, b'{"id": 1, "events"', {**SAMPLE, "id": 2}))
    assert [call.session for call in found.models] == ["popularity/2/2@run-1"]
    assert "log.eval!samples/0.json" in found.problems[0]


def test_totals_of_the_header_that_differ_are_a_problem(tmp_path: Path) -> None:
    found = log(tmp_path, SAMPLE, {**SAMPLE, "id": 2})
    assert "states 65 tokens of openai/gpt-4o-mini, its samples have 130" in found.problems[0]


def test_answers_out_of_inspects_own_cache_are_flagged_and_no_part_of_the_totals(tmp_path: Path) -> None:
    hit = {**MODEL, "uuid": "e2", "cache": "read"}
    found = log(tmp_path, {**SAMPLE, "events": [MODEL, hit]})
    assert [call.flags for call in found.models] == [(), (CLIENT_CACHE_HIT,)]
    assert found.problems == []


@pytest.mark.parametrize(
    ("event", "flags", "error"),
    [
        ({"model": "ollama/llama3"}, (LOCAL_MODEL,), ""),
        ({"output": {}, "error": "RuntimeError: the prompt was ..."}, (NO_USAGE_RECORDED,), "error"),
    ],
)
def test_what_is_known_of_a_calls_figures(
    tmp_path: Path, event: dict[str, Any], flags: tuple[str, ...], error: str
) -> None:
    (call,) = log(tmp_path, {**SAMPLE, "events": [{**MODEL, **event}]}, stats={}).models
    assert (call.flags, call.error) == (flags, error)


def test_events_inside_of_tools_count_in_old_logs(tmp_path: Path) -> None:
    nested = {**TOOL, "events": [{"event": "subtask", "events": [{**MODEL, "uuid": "inner"}]}]}
    assert [call.id for call in log(tmp_path, {**SAMPLE, "events": [nested, MODEL]}, stats={}).models] == [
        "inner",
        "e1",
    ]


def test_calls_that_were_still_running_do_not_count(tmp_path: Path) -> None:
    assert log(tmp_path, {**SAMPLE, "events": [{**MODEL, "pending": True}]}, stats={}).models == []


@pytest.mark.parametrize(
    ("fields", "succeeded"),
    [
        ({"scores": {"match": {"value": "I"}}}, False),
        ({"scores": {"match": {"value": 1.0}, "style": {"value": 0.7}}}, True),
        ({"scores": {"match": {"value": "C"}, "other": {"value": 0}}}, False),
        ({"scores": {"style": {"value": {"a": 1}}}}, None),
        ({"scores": {}}, None),
        ({"error": {"message": "boom"}}, False),
    ],
)
def test_success_is_what_every_scorer_says(tmp_path: Path, fields: dict[str, Any], succeeded: bool | None) -> None:
    assert log(tmp_path, {**SAMPLE, **fields}).statement.succeeded is succeeded


def test_runs_of_one_task_are_sessions_apart(tmp_path: Path) -> None:
    other = log(tmp_path, SAMPLE, eval={**INSPECT_AI["eval"], "run_id": "run-2"})
    assert other.models[0].session == "popularity/1/2@run-2"
