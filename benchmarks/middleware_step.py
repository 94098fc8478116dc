"""What a budget adds to a whole agent step, beside LangChain's own limits on the number of calls.

    python -m benchmarks.middleware_step

The step is an agent of ``create_agent`` with a fake model and one tool (model, tool, model), after 40 and after 400
messages of history. Rounds with ``BudgetMiddleware`` (limits on dollars and on calls, a ledger in memory),
with LangChain's ``ModelCallLimitMiddleware`` and ``ToolCallLimitMiddleware`` together, and without middleware take
turns, so that a noisy machine disturbs all alike; the figure is the ratio of the medians. Leaves with 1 if the budget
costs more than LangChain's two limits.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

os.environ.update({"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"})

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware, ToolCallLimitMiddleware
from langchain_core.tools import BaseTool

from benchmarks.callback_step import FakeModel, history, look_up
from budgeted_agents import Budget, BudgetMiddleware

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

HISTORIES = (40, 400)
ROUNDS = 300
WARM_UP = 20


class ToolModel(FakeModel):
    """The fake model, as an agent wants it."""

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> Runnable[Any, Any]:
        names = [tool.name for tool in tools if isinstance(tool, BaseTool)]
        return self.bind(tools=[{"type": "function", "function": {"name": name}} for name in names], **kwargs)


def contenders() -> dict[str, Any]:
    budget = Budget(usd=1_000_000, model_calls=10**9, tool_calls=10**9)
    made: dict[str, Callable[[], list[Any]]] = {
        "no middleware": list,
        "LangChain's two limits": lambda: [
            ModelCallLimitMiddleware(run_limit=1_000),
            ToolCallLimitMiddleware(run_limit=1_000),
        ],
        "BudgetMiddleware": lambda: [BudgetMiddleware(budget=budget)],
    }
    return {name: create_agent(ToolModel(), [look_up], middleware=make()) for name, make in made.items()}


def measure(agents: dict[str, Any], length: int) -> dict[str, list[float]]:
    """Seconds of CPU of a step, by contender; the contenders take turns."""
    start = {"messages": history(length)}
    times: dict[str, list[float]] = {name: [] for name in agents}
    for number in range(WARM_UP + ROUNDS):
        for name, agent in agents.items():
            before = time.process_time()
            agent.invoke(start)
            if number >= WARM_UP:
                times[name].append(time.process_time() - before)
    return times


def main() -> None:
    agents = contenders()
    gc.disable()
    failed = False
    for length in HISTORIES:
        medians = {name: statistics.median(times) for name, times in measure(agents, length).items()}
        ratio = medians["BudgetMiddleware"] / medians["LangChain's two limits"]
        print(f"{length} messages: " + ", ".join(f"{name} {median * 1e6:,.0f} us" for name, median in medians.items()))
        print(f"{'':14}BudgetMiddleware / LangChain's two limits = {ratio:.3f} (goal: under 1)", flush=True)
        failed = failed or ratio >= 1
    sys.exit(failed)


if __name__ == "__main__":
    main()
