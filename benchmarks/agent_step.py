"""Time of a whole agent step under a budget, priced and enforced, against bare LangGraph in the same run.

    python -m benchmarks.agent_step

A step is one call of a fake chat model and one tool call, through LangGraph. CPU time, interleaved, medians; trust the
ratios. What is added must not grow with the history.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.update({"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"})

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from budgeted_agents import Budget, BudgetedGraph, budgeted_model

GOAL = 1.08
ROUNDS, WARM_UP = 150, 20
HISTORIES = (10, 20, 100, 400)
BUDGET = Budget(usd="1000000", tool_calls=10**9)
CALL = {"name": "look_up", "args": {"item": "x"}, "id": "call-1"}


class FakeModel(BaseChatModel):
    """Calls a tool at once, with usage, under a name that has a price."""

    model_name: str = "gpt-4o"
    max_tokens: int = 500

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": self.model_name, "ls_max_tokens": self.max_tokens}

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        usage: Any = {"input_tokens": 500, "output_tokens": 20, "total_tokens": 520}
        answer = AIMessage("", tool_calls=[CALL], usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=answer)])


@tool
def look_up(item: str) -> str:
    """Look something up."""
    return f"{item} was found"


def build(graph_class: Callable[[Any], Any], model: BaseChatModel) -> Any:
    bound = model.bind(tools=[{"type": "function", "function": {"name": "look_up", "parameters": {}}}])
    graph = graph_class(MessagesState)
    graph.add_node("agent", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    graph.add_edge("tools", END)
    return graph.compile()


def history_of(size: int) -> list[BaseMessage]:
    kinds = (HumanMessage, AIMessage)
    return [kinds[n % 2](f"message number {n} of a talk about budgets", id=str(n)) for n in range(size)]


def step(app: Any, history: list[BaseMessage], number: int) -> float:
    begun = time.process_time()
    app.invoke({"messages": history}, {"configurable": {"thread_id": str(number)}})
    return time.process_time() - begun


def main() -> int:
    logging.getLogger("budgeted_agents").setLevel(logging.CRITICAL)
    governed = partial(BudgetedGraph, budget=BUDGET)
    apps = {
        "bare LangGraph": build(StateGraph, FakeModel()),
        "plain model under a budget": build(governed, FakeModel()),
        "budgeted_model under a budget": build(governed, budgeted_model(FakeModel())),
    }
    print(f"{'us a step':32}" + "".join(f"{size:>16} msgs" for size in HISTORIES))
    ratios: dict[str, float] = {}
    medians: dict[str, list[float]] = {name: [] for name in apps}
    for size in HISTORIES:
        history = history_of(size)
        for app in apps.values():
            for number in range(WARM_UP):
                step(app, history, number)
        times: dict[str, list[float]] = {name: [] for name in apps}
        for number in range(ROUNDS):
            for name, app in apps.items():
                times[name].append(step(app, history, number))
        for name in apps:
            medians[name].append(statistics.median(times[name]) * 1e6)
    bare = medians["bare LangGraph"]
    for name, row in medians.items():
        cells = [f"{took:7.0f} +{took - base:5.0f} x {took / base:.2f}" for took, base in zip(row, bare, strict=True)]
        print(f"{name:32}" + "".join(f"{cell:>21}" for cell in cells))
        ratios[name] = row[1] / bare[1]
    print(f"goal at 20 messages: x {GOAL}")
    return int(max(ratios.values()) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
