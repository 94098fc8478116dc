"""Scans files in a process of its own: ``python -m tests.traces.hostile.measured FILE...`` prints what it came to.

They are read as OTLP, whatever they look like: what looks like nothing would not be read at all.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from budgeted_agents.prices import DatedPrices
from budgeted_agents.traces.audit.scan import scan


def main() -> None:
    """Print calls and problems of each file, CPU seconds, and the peak of memory in MB."""
    prices = DatedPrices.load()
    start = time.process_time()
    result = scan(sys.argv[1:], format="otlp", prices=lambda: prices, workers=1)
    seconds = time.process_time() - start
    files = [(file.path, file.calls, [str(problem) for problem in file.problems.kept]) for file in result.files]
    print(json.dumps({"files": files, "seconds": seconds, "megabytes": _peak()}))  # noqa: T201


def _peak() -> float:
    """The most memory this program had; what ``getrusage`` says includes who started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
