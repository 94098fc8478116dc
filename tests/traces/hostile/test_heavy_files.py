"""Files that try to take all memory or time get neither. Each is scanned in a process of its own, which is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.traces.formats.otlp_lines import chat, line, write
from tests.traces.hostile.cases import HEAVY

SECONDS = 2.0
MEGABYTES = 256


@pytest.mark.parametrize("name", HEAVY)
def test_it_costs_little(name: str, tmp_path: Path) -> None:
    case = HEAVY[name]()
    hostile = write(tmp_path / case.name, case.content)
    behind = write(tmp_path / "behind.jsonl", line(chat("f" * 16)))
    command = [sys.executable, "-m", "tests.traces.hostile.measured", str(hostile), str(behind)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    *hostiles, (_, good, _) = found["files"]
    calls = sum(calls for _, calls, _ in hostiles)
    problems = [problem for _, _, problems in hostiles for problem in problems]
    assert good == 1
    assert case.calls in (None, calls), problems[:3]
    assert bool(problems) or not case.is_told
    assert all(problem.startswith(str(hostile)) for problem in problems)
    assert found["megabytes"] < MEGABYTES
    assert found["seconds"] < SECONDS
