"""Deep agents: what sub-agents spend is the agent's, whether they have the middleware too or not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, ToolMessage

from budgeted_agents import Budget, BudgetMiddleware
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.middleware.support import ASK, LANDED, assert_complete, assert_within, look_up, openai_model, serving, thread

HELPERS = ("first", "second", "third")


def delegates(request: Request) -> Reply:
    """The main agent hands a task to each helper, again and again; a helper looks words up for as long as it may."""
    if not request.tools:
        return Reply(LANDED)
    if "task" in request.tool_names:
        calls = [
            ToolCall(
                "task", {"description": "Look words up.", "subagent_type": name}, id=f"call_{request.number}_{name}"
            )
            for name in HELPERS
        ]
        return Reply("Helpers!", calls)
    return Reply("Let me see.", [ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}")])


def deep_agent(provider: LocalProvider, guard: BudgetMiddleware, *, inside: bool, **settings: Any) -> Any:
    own = {"middleware": [guard]} if inside else {}
    helpers = [
        {"name": name, "description": name, "system_prompt": "Help.", "tools": [look_up], **own} for name in HELPERS
    ]
    model = openai_model(provider, max_tokens=100)
    return create_deep_agent(model=model, subagents=cast("Any", helpers), middleware=[guard], **settings)


@pytest.mark.parametrize("inside", [False, True], ids=["main agent", "sub-agents too"])
@pytest.mark.parametrize("is_async", [False, True])
def test_sub_agents_spend_from_the_same_cap_and_the_agent_lands(inside: bool, is_async: bool) -> None:
    with serving(delegates) as provider:
        guard = BudgetMiddleware(budget=Budget(usd="0.30", landing_reserve=0.15, max_wait=0))
        app = deep_agent(provider, guard, inside=inside)
        state: Any = asyncio.run(app.ainvoke(ASK, thread())) if is_async else app.invoke(ASK, thread())
        report = guard.spend(thread())
        assert_within(report, provider, cap=None)
        assert report.cost_nanos <= 300_000_000
        assert len(report.model_calls) == len(provider.requests) > 10
        assert_complete(state["messages"])
        assert isinstance(state["messages"][-1], AIMessage)
        assert state["messages"][-1].text == LANDED
        if not inside:
            stopped = [m for m in state["messages"] if isinstance(m, ToolMessage) and m.status == "error"]
            assert all("This tool had to stop: Budget 'session'" in message.text for message in stopped)


def test_a_nested_agent_may_have_a_tighter_budget_of_its_own() -> None:
    with serving(delegates) as provider:
        guard = BudgetMiddleware(budget=Budget(name="all", usd="1.00", loops=2, max_wait=0))
        tight = BudgetMiddleware(budget=Budget(name="helper", model_calls=2, per=("session",), max_wait=0))
        helpers: Any = [
            {"name": n, "description": n, "system_prompt": "Help.", "tools": [look_up], "middleware": [tight]}
            for n in HELPERS
        ]
        app: Any = create_deep_agent(
            model=openai_model(provider, max_tokens=100), subagents=helpers, middleware=[guard]
        )
        app.invoke(ASK, thread())
        report = guard.spend(thread())
        assert_within(report, provider)
        spent = {
            balance.account.budget: balance.spent
            for balance in report.balances
            if balance.account.unit == "model_calls"
        }
        assert spent["helper"] == 2


RESUME = """
import sys
from langgraph.checkpoint.sqlite import SqliteSaver
from budgeted_agents import Budget
from tests.middleware.support import *
from tests.middleware.test_entry_points import ASK
url, folder = sys.argv[1:]
class Provider:
    base_url = url
with SqliteSaver.from_conn_string(f"{folder}/threads.db") as saver:
    app, guard = endless_agent(Provider(), Budget(usd="1.00", model_calls=6, loops=2, landing_reserve=0, max_wait=0),
        ledger=f"sqlite:///{folder}/spend.db", checkpointer=saver)
    app.invoke(ASK, thread())
    print(len(guard.spend(thread()).model_calls))
"""


def test_a_thread_resumed_in_another_process_goes_on_with_what_is_left(tmp_path: Path) -> None:
    from tests.middleware.support import looks_up_forever

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, "."])}
    with serving(looks_up_forever) as provider:
        counts = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", RESUME, provider.base_url, str(tmp_path)],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            counts.append(int(done.stdout))
        assert counts == [3, 6, 6]
        assert len(provider.requests) == 6
