"""The app that the tests of this folder suspend and resume, also in processes of their own.

python -m tests.resume.suspended <provider url> <folder> <command> [<calls>]
"""

from __future__ import annotations

import json
import operator
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START
from pydantic import SecretStr

from budgeted_agents import Budget, BudgetedGraph, budgeted_model

STEPS = 4
CONFIG: Any = {"configurable": {"thread_id": "t1"}}
START_STATE: Any = {"answers": []}


class Answers(TypedDict):
    answers: Annotated[list[str], operator.add]


def build(base_url: str, ledger: Any, *, calls: int = 2, **compiling: Any) -> Any:
    """An app of ``STEPS`` model calls under a budget for fewer, which suspends."""
    model = budgeted_model(
        ChatOpenAI(model="gpt-4o", base_url=base_url, api_key=SecretStr("sk-local"), max_completion_tokens=40)
    )

    def work(state: Answers) -> Any:
        return {"answers": [model.invoke(f"Part {len(state['answers']) + 1}, please.").text.strip()]}

    budget = Budget(usd="0.05", model_calls=calls, min_output_tokens=20, max_wait=0.0, on_exhausted="suspend")
    graph: Any = BudgetedGraph(Answers, budget=budget, ledger=ledger)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: "work" if len(state["answers"]) < STEPS else END)
    return graph.compile(**compiling)


def main(base_url: str, folder: str, command: str, calls: str = "1") -> None:
    """Do one thing to thread ``t1`` in this process, and print what came of it."""
    with SqliteSaver.from_conn_string(str(Path(folder) / "checkpoints.db")) as saver:
        app = build(base_url, f"sqlite:///{Path(folder) / 'spend.db'}", checkpointer=saver)
        if command == "top-up":
            for _ in range(2):  # repeated under the same id: counts once
                app.top_up(CONFIG, model_calls=int(calls), by="test", reason="more parts", id=f"top-up-{calls}")
        state = app.invoke(START_STATE if command == "start" else None, CONFIG)
        report, left = app.spend(CONFIG), app.get_state(CONFIG).next
        sys.stdout.write(json.dumps({"answers": state["answers"], "next": list(left), "report": report.to_json()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
