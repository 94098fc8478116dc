"""What holds for every importer of a platform or benchmark."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.errors import InvalidTrace
from budgeted_agents.traces.call import TracedCall
from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats import (
    Format,
    atif,
    inspect_ai,
    langfuse,
    langsmith,
    mini_swe_agent,
    openhands,
    swe_agent,
    tau2,
)
from tests.traces.formats.examples import EXAMPLES
from tests.traces.formats.support import Imported, written

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (atif, inspect_ai, langfuse, langsmith, mini_swe_agent, openhands, swe_agent, tau2)
}
SAMPLES = Path(os.environ.get("BUDGETED_AGENTS_TRACES") or Path(__file__).parents[4] / "shared" / "traces")
ODD: list[Any] = [None, True, -1, 0.5, 10**30, "", "x", "{", "[{", [], {}, [[]], [None], {"x": {}}, "9999-99-99"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_format_is_claimed_by_its_own_importer_alone(tmp_path: Path, name: str) -> None:
    file, content = EXAMPLES[name]
    for compact in (True, False):
        text = json.dumps(content, indent=None if compact else 2)
        source = written(tmp_path, file, text.encode())
        assert [other for other, importer in FORMATS.items() if importer.detect(source)] == [name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_format_is_not_claimed_for_words_in_a_text(tmp_path: Path, name: str) -> None:
    quoted = {"type": "user", "message": {"content": json.dumps(EXAMPLES[name][1])}}
    assert not FORMATS[name].detect(written(tmp_path, "transcript.jsonl", [quoted]))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_call_has_an_id_of_its_own_and_a_session(tmp_path: Path, name: str) -> None:
    calls = list(FORMATS[name].read(written(tmp_path, *EXAMPLES[name])))
    assert calls
    assert len({call.id for call in calls}) == len(calls)
    assert all(call.id and call.session for call in calls)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_value_of_a_record_makes_a_foreign_error(tmp_path: Path, name: str) -> None:
    """Every value of a whole trace, on every level, is replaced by odd ones in turn."""
    file, content = EXAMPLES[name]
    for index, odd in enumerate(changed(content)):
        source = written(tmp_path, f"{index}-{file}", json.dumps(odd).encode())
        for call in read(FORMATS[name], source):
            assert_sound(call)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"[1]",
        b"[" * 5000,
        b'{"a":' * 5000,
        b"\xff\xfe[\x00]\x00",
        b"PK\x03\x04",
        b"\x00" * 99,
    ],
)
def test_what_is_no_trace_is_empty_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    source = written(tmp_path, EXAMPLES[name][0], content)
    assert not FORMATS[name].detect(source)
    assert read(FORMATS[name], source) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_arguments_that_nest_deep_are_no_error(tmp_path: Path, name: str) -> None:
    file, content = EXAMPLES[name]
    text = json.dumps(content).replace('"ls"', "[" * 900 + "]" * 900).replace('{"query": "x"}', "[" * 900 + "]" * 900)
    assert read(FORMATS[name], written(tmp_path, file, text.encode()))


def test_the_samples_come_to_the_independent_figures() -> None:
    """Over the samples, where they are: calls, sessions, and the cost that the trace records."""
    manifest = SAMPLES / "manifest.json"
    for entry in json.loads(manifest.read_bytes())["files"] if manifest.exists() else ():
        claimed = [name for name, importer in FORMATS.items() if importer.detect(FileSource(SAMPLES / entry["file"]))]
        assert claimed == ([FOLDERS[folder]] if (folder := entry["file"].split("/")[0]) in FOLDERS else []), entry
        for name in claimed:
            source = FileSource(SAMPLES / entry["file"])
            assert_comes_to(Imported(list(FORMATS[name].read(source)), source), entry)


def test_the_installed_formats_are_these() -> None:
    registered = {entry.name: entry.value for entry in entry_points(group="budgeted_agents.trace_formats")}
    for name in FORMATS:
        assert registered[name] == f"budgeted_agents.traces.formats.{name}:FORMAT"


FOLDERS = {
    "inspect": "inspect_ai",
    "langfuse": "langfuse",
    "langsmith": "langsmith",
    "swe_agent": "swe_agent",
    "tau2": "tau2",
}
"""Folders of samples, and the formats of what is in them."""


def assert_comes_to(found: Imported, entry: dict[str, Any]) -> None:
    statements = found.of("statement")
    calls = len(found.models) or sum(call.calls for call in statements)
    recorded = found.recorded or sum((call.recorded_cost or Decimal() for call in statements), Decimal())
    assert calls == entry.get("calls", calls), entry["file"]
    assert len({call.session for call in found.calls}) == entry["sessions"], entry["file"]
    assert float(recorded) == pytest.approx(entry.get("recorded_total_usd", 0), abs=1e-11), entry["file"]
    assert found.problems == []


def read(importer: Format, source: FileSource) -> list[TracedCall]:
    try:
        return list(importer.read(source))
    except InvalidTrace:
        return []


def assert_sound(call: TracedCall) -> None:
    assert call.id
    assert all(isinstance(text, str) for text in (call.session, call.model, call.node, call.tool, call.error))
    assert all(isinstance(value, str) for value in call.attribution.values())
    assert min(call.usage.prompt_tokens, call.usage.completion_tokens, call.usage.input, call.usage.output) >= 0
    assert call.recorded_cost is None or (call.recorded_cost.is_finite() and call.recorded_cost >= 0)
    assert call.calls >= 0


def changed(value: Any) -> Iterator[Any]:
    """The value with each of its parts replaced by each odd value in turn."""
    yield from ODD
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        for odd in changed(part):
            altered = copy.copy(value)
            altered[key] = odd
            yield altered
