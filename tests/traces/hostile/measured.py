"""Scans files in a process of its own: ``python -m tests.traces.hostile.measured FILE...`` prints what it came to."""

from __future__ import annotations

import json
import resource
import sys
import time

from budgeted_agents.prices import DatedPrices
from budgeted_agents.traces.scan import scan


def main() -> None:
    """Print calls and problems of each file, CPU seconds, and the peak of memory in MB."""
    prices = DatedPrices.load()
    start = time.process_time()
    result = scan(sys.argv[1:], prices=lambda: prices, workers=1)
    seconds = time.process_time() - start
    files = [(file.path, file.calls, [str(problem) for problem in file.problems.kept]) for file in result.files]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"files": files, "seconds": seconds, "megabytes": peak}))  # noqa: T201


if __name__ == "__main__":
    main()
