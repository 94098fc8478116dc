"""An agent whose every text can be told wherever it turns up, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState
from langgraph.prebuilt import ToolNode, tools_condition

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.attach.support import openai
from tests.opentelemetry.support import SetUp

RULES, QUESTION, WORD, MEANING, ANSWER = (f"{name}-7f3a" for name in ("rules", "question", "word", "meaning", "answer"))
MARKS = {RULES, QUESTION, WORD, MEANING, ANSWER}
INPUT: Any = {"messages": [HumanMessage(f"What is {QUESTION}?")]}
THREAD: Any = {"configurable": {"thread_id": "t1"}}


@tool
def look_up(word: str) -> str:
    """Look a word up."""
    return f"It means {MEANING}."


def looks_up_once(request: Request) -> Reply:
    """Calls the tool, then answers."""
    if request.tools and not request.tool_results:
        return Reply("", [ToolCall("look_up", {"word": WORD}, id="call_1")])
    return Reply(f"The {ANSWER} is yes.")


def agent(provider: LocalProvider, *, governed: bool = True, budget: Budget | None = None, **settings: Any) -> Any:
    """A graph that asks a model, calls its tool, and asks again."""
    raw = openai(provider)
    model = (budgeted_model(raw) if governed else raw).bind_tools([look_up])

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke([SystemMessage(f"Keep to {RULES}."), *state["messages"]])]}

    graph: Any = BudgetedGraph(MessagesState, budget=budget or Budget(usd="1.00", tool_calls=5), **settings)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile()


def marks_in(text: str | bytes) -> set[str]:
    """Which of the agent's texts turn up."""
    whole = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return {mark for mark in MARKS if mark in whole}


def marks_in_files(folder: Path) -> set[str]:
    return {mark for file in folder.rglob("*") if file.is_file() for mark in marks_in(file.read_bytes())}


def marks_in_spans(set_up: SetUp) -> set[str]:
    """In spans, with their events and resources."""
    return marks_in("".join(span.to_json() for span in set_up.spans()))


def marks_in_metrics(set_up: SetUp) -> set[str]:
    return marks_in(repr([(name, dict(about), point) for name, about, point in set_up.points()]))


def content_of(set_up: SetUp, name: str = "chat") -> list[dict[str, Any]]:
    """The content of each span of this name, its JSON read."""
    return [_content((span.attributes or {}).items()) for span in set_up.spans(name)]


def content_in(journal: Path, operation: str = "chat") -> list[dict[str, Any]]:
    """The content of each call that a journal has of this operation."""
    lines = [orjson.loads(line) for file in sorted(journal.glob("*.jsonl")) for line in file.open("rb")]
    spans = [span for line in lines for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]]
    pairs = [{pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]} for span in spans]
    return [_content(found.items()) for found in pairs if found.get("gen_ai.operation.name") == operation]


def _plain(value: Any) -> Any:
    """An attribute's value; a list of texts as OTLP's JSON has it, and as the SDK does, is the same."""
    if isinstance(value, dict):
        return [each["stringValue"] for each in value["values"]]
    return list(value) if isinstance(value, tuple) else value


def _content(attributes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in attributes:
        short = name.removeprefix("gen_ai.")
        if short in ("system_instructions", "input.messages", "output.messages", "tool.call.arguments"):
            found[short] = json.loads(value)
        elif short in ("tool.call.result", "budget.content.cut"):
            found[short] = _plain(value)
    return found
