"""60 runs of the research agent at once on one SQLite ledger: the tenant's budget and every session's budget hold.

    python -m benchmarks.concurrent_runs

The agent is ``graphs/research.py`` over this repository's documentation, against the local provider over real HTTP,
which counts what was really spent.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI

from benchmarks.support.provider import ProviderProcess
from budgeted_agents import Budget, BudgetedGraph, budgeted_model, open_ledger
from budgeted_agents.money import format_usd
from budgeted_agents.testing import research_replies
from graphs.research import build_research_graph

RUNS = 60
SESSION = Budget(usd="0.02", tool_calls=20)
TENANT = Budget(name="tenant", per=("tenant",), usd="0.60", on_exhausted="land", landing_reserve=0.02)
QUESTION = "What happens when a budget runs out, and what is a landing?"
DOCS = Path(__file__).resolve().parent.parent / "docs"


def build(base_url: str, ledger: Any) -> Any:
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "sk-local"}
    models = [ChatOpenAI(model=name, **settings) for name in ("gpt-4o", "gpt-4o-mini")]
    graph_class = partial(BudgetedGraph, budget=[SESSION, TENANT], ledger=ledger)
    graph: Any = build_research_graph(budgeted_model(*models), DOCS, graph_class=graph_class)
    return graph.set_finalizer("answer").compile()


async def all_runs(app: Any) -> list[dict[str, Any]]:
    def config(number: int) -> dict[str, Any]:
        return {"configurable": {"thread_id": f"run-{number}"}, "metadata": {"tenant": "acme"}}

    return list(await asyncio.gather(*(app.ainvoke({"question": QUESTION}, config(n)) for n in range(RUNS))))


def main() -> int:
    logging.getLogger("budgeted_agents").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, ProviderProcess(research_replies) as provider:
        ledger = open_ledger(f"sqlite:///{Path(folder) / 'spend.db'}")
        app = build(provider.base_url, ledger)
        begun = time.perf_counter()
        states = asyncio.run(all_runs(app))
        took = time.perf_counter() - begun
        balances = ledger.balances(ledger.accounts())
        bill = provider.bill().nanos
        landed = sum(note.body.get("kind") == "landing" for note in ledger.notes())
        ledger.close()
    sessions = [b for b in balances if b.account.budget == "session" and b.account.unit == "usd"]
    (tenant,) = (b for b in balances if b.account.budget == "tenant")
    over = sum(b.spent > b.limit for b in sessions)
    answered = sum(bool(state.get("answer") or state.get("messages")) for state in states)
    print(f"{RUNS} runs in {took:.1f} s, {answered} with an answer or partial state, {landed} of them landed")
    print(f"tenant: {format_usd(tenant.spent)} of {format_usd(tenant.limit)}; provider's bill {format_usd(bill)}")
    print(f"sessions above {SESSION.usd} USD: {over}; most spent by one {format_usd(max(b.spent for b in sessions))}")
    print(f"held at the end: {sum(b.held for b in balances)}; ledger = bill: {tenant.spent == bill}")
    return int(bool(over) or bill > tenant.limit or tenant.spent != bill or any(b.held for b in balances))


if __name__ == "__main__":
    sys.exit(main())
