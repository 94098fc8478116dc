"""Importing: the package itself in milliseconds and without a framework; the first graph no slower than LangGraph.

python -m benchmarks.imports
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

ROUNDS = 7
HEAVY = ("litellm", "langgraph", "langchain_core", "openai", "pydantic")

_SCRIPT = """
import json, sys, time
start = time.perf_counter()
{statement}
took = time.perf_counter() - start
print(json.dumps([took * 1000, [name for name in {heavy!r} if name in sys.modules]]))
"""


def measured(statement: str) -> tuple[float, list[str]]:
    """Median milliseconds of a statement in fresh interpreters, and which heavy packages it brought in."""
    script = _SCRIPT.format(statement=statement, heavy=HEAVY)
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)
        for _ in range(ROUNDS)
    ]
    return statistics.median(took for took, _ in runs), runs[0][1]


def main() -> int:
    package, brought = measured("import budgeted_agents")
    graph, with_graph = measured("from budgeted_agents import BudgetedGraph; BudgetedGraph(dict)")
    langgraph, _ = measured("from langgraph.graph import StateGraph; StateGraph(dict)")
    print(f"import budgeted_agents          {package:8.1f} ms  (goal: 100)   brings in {brought or 'nothing heavy'}")
    print(f"langgraph's first StateGraph    {langgraph:8.1f} ms")
    print(f"our first BudgetedGraph         {graph:8.1f} ms  x {graph / langgraph:.2f}  brings in {with_graph}")
    return int(package > 100 or bool(brought) or "litellm" in with_graph or graph > langgraph)


if __name__ == "__main__":
    sys.exit(main())
