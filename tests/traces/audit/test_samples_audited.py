"""Real traces come to the figures that others have counted, or the verdict says why not.

The traces are no part of the repository: where there are none, this says nothing.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from budgeted_agents import replay
from budgeted_agents.reports.audit import AuditReport
from tests.traces.formats.samples import independent_count, samples

DIGITS = Decimal("1e-8")  # some recorders cut their figures off there
EXPLAINED = {"explained_by_cache_ttl", "constant_ratio", "unpriced", "rounding"}


def test_every_sample_comes_to_the_independent_figures() -> None:
    files = samples()
    manifest = [
        entry for file in files[:1] for entry in json.loads((file.parents[1] / "manifest.json").read_text())["files"]
    ]
    audited = {entry["file"] for entry in manifest if not entry["file"].startswith("prices/")}
    assert {"/".join(file.parts[-2:]) for file in files} == audited
    for entry in manifest:
        if entry["file"] in audited:
            root = files[0].parents[1]
            report = replay(root / entry["file"], prices=root / "prices" / "prices_at_time.json")
            assert_comes_to(report, entry)
            assert_tokens(report, independent_count(root / entry["file"]))


def assert_comes_to(report: AuditReport, entry: dict[str, Any]) -> None:
    sessions = [session for session in report.sessions if session.figures.calls]
    totals, name = report.totals, entry["file"]
    assert len(sessions) == entry["sessions"], name
    assert sum(report.verdicts.values()) == totals.calls, name
    assert "mismatch" not in report.verdicts, name
    if "calls" in entry:
        assert entry["calls"] in (totals.calls, totals.calls - totals.unpriced_calls), name
    if "recorded_total_usd" not in entry:
        return
    independent = Decimal(str(entry["recorded_total_usd"]))
    if totals.recorded_cost_usd is not None:
        assert abs(totals.recorded_cost_usd - independent) <= DIGITS, name
    is_right = totals.cost_usd is not None and abs(totals.cost_usd - independent) <= DIGITS
    assert is_right or EXPLAINED & {session.verdict for session in sessions}, (name, totals)


def assert_tokens(report: AuditReport, counted: dict[str, Any] | None) -> None:
    if counted is None:
        return
    totals = report.totals
    if totals.calls == counted["api_call_count"]:
        written = counted["input_tokens"] + counted["cache_creation_tokens"]
        assert totals.input_tokens - totals.cached_input_tokens == written
        assert totals.cached_input_tokens == counted["cache_read_tokens"]
        assert totals.output_tokens == counted["output_tokens"]


def test_a_call_in_two_files_counts_once() -> None:
    """Two checkpoints of one session share thirteen messages."""
    both = [file for file in samples("claude_code") if file.stem in ("overlap_A", "overlap_B")]
    if both:
        assert replay(both).totals == replay(both[1:]).totals


def test_all_of_them_at_once_are_the_sum_of_each(tmp_path: Path) -> None:
    """But for what two files have in common."""
    files = [file for file in samples() if file.stem != "overlap_A" and file.parent.name not in ("otlp", "codex")]
    if files:
        each = [replay(file).totals for file in files]
        assert replay(files).totals.calls == sum(totals.calls for totals in each)
        assert replay(files).totals.cost_usd == sum(totals.cost_usd or 0 for totals in each)
