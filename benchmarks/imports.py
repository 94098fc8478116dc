"""Importing: the package itself in milliseconds and without a framework; the first graph no slower than LangGraph.

python -m benchmarks.imports

CPU time. The statements take turns in fresh interpreters, so that a noisy machine disturbs all alike; the figures are
medians. Each round imports from another depth of the stack: CPython keeps the frames of calls in pieces of 16 KB, and
an import that happens to go back and forth across the end of one takes up to a tenth longer, whoever imports.
What a budget loads besides is shown, and has no goal.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

DEPTHS = range(0, 24, 2)
NOISE = 0.03
HEAVY = ("litellm", "langgraph", "langchain_core", "openai", "pydantic")

PACKAGE = "import budgeted_agents"
LANGGRAPH = "from langgraph.graph import StateGraph; StateGraph(dict)"
GRAPH = "from budgeted_agents import BudgetedGraph; BudgetedGraph(dict)"
BUDGETED = "from budgeted_agents import Budget, BudgetedGraph; BudgetedGraph(dict, budget=Budget(usd=1))"

_SCRIPT = """
import json, sys, time

def timed(depth):
    if depth:
        return timed(depth - 1)
    start = time.process_time()
    {statement}
    return time.process_time() - start

took = timed({depth})
print(json.dumps([took * 1000, [name for name in {heavy!r} if name in sys.modules]]))
"""


def measured(statement: str, depth: int) -> tuple[float, list[str]]:
    """Milliseconds of a statement, so many calls deep in a new interpreter, and which heavy packages it brought in."""
    script = _SCRIPT.format(statement=statement, depth=depth, heavy=HEAVY)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    took, brought = json.loads(ran.stdout)
    return took, brought


def main() -> int:
    times: dict[str, list[float]] = {statement: [] for statement in (PACKAGE, LANGGRAPH, GRAPH, BUDGETED)}
    brought: dict[str, list[str]] = {}
    for depth in DEPTHS:
        for statement, taken in times.items():
            took, brought[statement] = measured(statement, depth)
            taken.append(took)
    package, ratio = statistics.median(times[PACKAGE]), _ratio(times, GRAPH)
    light = f"brings in {brought[PACKAGE] or 'nothing heavy'}"
    print(f"import budgeted_agents          {package:8.1f} ms  (goal: 100)  {light}")
    print(f"langgraph's first StateGraph    {statistics.median(times[LANGGRAPH]):8.1f} ms")
    for name, statement in (("our first BudgetedGraph", GRAPH), ("  with a budget", BUDGETED)):
        median = statistics.median(times[statement])
        print(f"{name:32}{median:8.1f} ms  x {_ratio(times, statement):.2f}  brings in {brought[statement]}")
    return int(package > 100 or bool(brought[PACKAGE]) or "litellm" in brought[BUDGETED] or ratio > 1 + NOISE)


def _ratio(times: dict[str, list[float]], statement: str) -> float:
    return statistics.median(times[statement]) / statistics.median(times[LANGGRAPH])


if __name__ == "__main__":
    sys.exit(main())
