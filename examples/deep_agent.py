"""A deep agent with three sub-agents that share one budget.

    python -m examples.deep_agent "Compare trains, ferries and planes." --usd 0.05 --local

The main agent hands a part of the question to each sub-agent; what they spend is the session's. Each has the same
``BudgetMiddleware``, so each steps down, is shortened and lands by itself; without it they would only be stopped.
``--local`` answers from a local provider, without a model or a key; otherwise set OPENAI_API_KEY.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from deepagents import create_deep_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from budgeted_agents import Budget, BudgetMiddleware
from budgeted_agents.estimate import count_text
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall

FACTS = {
    "trains": "Trains leave every hour and take four hours.",
    "ferries": "Ferries leave twice a day and take nine hours.",
    "planes": "Planes leave every two hours and take one hour.",
}


@tool
def read_timetable(topic: str) -> str:
    """Reads a timetable."""
    return FACTS.get(topic, "There is no such timetable.")


def build_agent(model: Any, budget: BudgetMiddleware) -> Any:
    """The main agent and its three sub-agents, all under one budget."""
    helpers: Any = [
        {
            "name": topic,
            "description": f"Knows about {topic}.",
            "system_prompt": f"You know about {topic}. Read the timetable, then answer in one sentence.",
            "tools": [read_timetable],
            "middleware": [budget],
        }
        for topic in FACTS
    ]
    return create_deep_agent(model=model, subagents=helpers, middleware=[budget])


def travel_replies(request: Request) -> Reply:
    """What the local provider answers: the main agent delegates once, a sub-agent reads once, then both answer."""
    found = request.tool_results or [text for text in request.user_texts if text.startswith("Result of")]
    if found or not request.tools:
        return Reply(" ".join(found) or "Nothing was found.")
    if "task" in request.tool_names:
        calls = [
            ToolCall("task", {"description": f"How are {t}?", "subagent_type": t}, id=f"call_{request.number}_{t}")
            for t in FACTS
        ]
        return Reply("I will ask.", calls)
    topic = next((topic for topic in FACTS if topic in " ".join(request.user_texts)), "trains")
    return Reply("Let me read.", [ToolCall("read_timetable", {"topic": topic}, id=f"call_{request.number}")])


def main(arguments: Sequence[str] | None = None) -> None:
    """Asks the question given on the command line, and prints the answer and what it cost."""
    options = _options(arguments)
    with ExitStack() as stack:
        settings: dict[str, Any] = {"max_tokens": 400}
        if options.local:
            provider = stack.enter_context(LocalProvider(travel_replies, count_tokens=count_text))
            settings |= {"base_url": provider.base_url, "api_key": "sk-local"}
        cheaper = ChatOpenAI(model="gpt-4o-mini", **settings)
        budget = BudgetMiddleware(budget=Budget(usd=options.usd, landing_reserve=0.1), models=[cheaper])
        agent = build_agent(ChatOpenAI(model="gpt-4o", **settings), budget)
        thread: Any = {"configurable": {"thread_id": "travel-1"}}
        state = agent.invoke({"messages": [("human", options.question)]}, thread)
        report = budget.spend(thread)
    print(state["messages"][-1].text)
    print(f"\n{len(report.model_calls)} model calls, ${report.cost_usd}")
    if report.landing:
        print(f"Landed: {report.landing}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask a deep agent and its sub-agents, inside one budget.")
    parser.add_argument("question")
    parser.add_argument("--usd", default="0.20", help="the budget of the session (default: %(default)s)")
    parser.add_argument("--local", action="store_true", help="answer from a local provider, without a model or a key")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
