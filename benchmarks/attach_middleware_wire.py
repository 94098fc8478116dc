"""The wire fixture through agents that are not changed, but for a ``BudgetMiddleware`` in their list.

    python -m benchmarks.attach_middleware_wire

A $1.00 cap, about 8,000 tokens in and up to 16,000 out, over real HTTP through langchain-openai, ChatLiteLLM and
langchain-anthropic, in agents of ``create_agent`` and ``create_deep_agent`` that would never stop by themselves: with
only the middleware, and with a ``CostCallback`` of the same budget besides. A local provider in its own process bills
each call when it arrives. Leaves with 1 if anything is spent above the cap, or if the ledger and the bill differ.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core.tools import tool

from benchmarks.attach_wire import MODELS
from benchmarks.support.provider import Bill, ProviderProcess
from benchmarks.wire_fixture import CAP_NANOS, INPUT_TOKENS, OUTPUT_TOKENS
from budgeted_agents import Budget, BudgetMiddleware, CostCallback, open_ledger
from budgeted_agents.testing import Reply, Request, ToolCall
from budgeted_agents.testing.replies import ReplyPolicy

THREADS, TASKS = 20, 50
LONG = "hello " * (INPUT_TOKENS - 300)
ASK: Any = {"messages": [("human", LONG)]}
HELPERS = ("first", "second", "third")

Scenario = Callable[[Any, Any, BudgetMiddleware, Any], None]
"""Makes and runs an agent of a model (and one to fall back to) with the middleware, under a config."""


@tool
def look_up(item: int) -> str:
    """Look an item up."""
    return f"Item {item} is in stock."


# -- what the provider answers ---------------------------------------------------------------------------------------


def forever() -> ReplyPolicy:
    """As long an answer as the limit allows, and a tool call; the main agent of a deep one calls all its helpers."""

    def reply_to(request: Request) -> Reply:
        tokens = min(request.max_output_tokens or OUTPUT_TOKENS, OUTPUT_TOKENS)
        if "You are the main agent." in request.system:
            tasks = [{"description": "Go on.", "subagent_type": name} for name in HELPERS]
            calls = [ToolCall("task", task, id=f"call_{request.number}_{n}") for n, task in enumerate(tasks)]
        else:
            calls = [ToolCall("look_up", {"item": 1}, id=f"call_{request.number}")] if request.tools else []
        return Reply("Let me see.", calls, output_tokens=tokens)

    return reply_to


def now_and_then_down(numbers: tuple[int, ...] = (2, 3)) -> ReplyPolicy:
    """The same, but of five requests these are refused."""
    usual = forever()

    def reply_to(request: Request) -> Reply:
        down = Reply("Slow down.", status=429, headers={"retry-after": "0"})
        return down if request.number % 5 in numbers else usual(request)

    return reply_to


# -- agents ----------------------------------------------------------------------------------------------------------


def sequential(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    create_agent(model, [look_up], middleware=[guard]).invoke(ASK, config)


def streaming(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    for _chunk in create_agent(model, [look_up], middleware=[guard]).stream(ASK, config, stream_mode="messages"):
        pass


def retried(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    retry = ModelRetryMiddleware(max_retries=5, initial_delay=0.001, jitter=False)
    create_agent(model, [look_up], middleware=[retry, guard]).invoke(ASK, config)


def falling_back(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    create_agent(model, [look_up], middleware=[ModelFallbackMiddleware(other), guard]).invoke(ASK, config)


def in_threads(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    agent = create_agent(model, [look_up], middleware=[guard])
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda _: agent.invoke(ASK, config), range(THREADS)))


def in_tasks(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    agent = create_agent(model, [look_up], middleware=[guard])

    async def run() -> None:
        await asyncio.gather(*[agent.ainvoke(ASK, config) for _ in range(TASKS)])

    asyncio.run(run())


def deep(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    _deep(model, guard, []).invoke({"messages": [("human", "Go on.")]}, config)


def deep_governed(model: Any, other: Any, guard: BudgetMiddleware, config: Any) -> None:
    _deep(model, guard, [guard]).invoke({"messages": [("human", "Go on.")]}, config)


def _deep(model: Any, guard: BudgetMiddleware, inside: list[Any]) -> Any:
    helpers: Any = [
        {"name": name, "description": name, "system_prompt": LONG, "tools": [look_up], "middleware": inside}
        for name in HELPERS
    ]
    return create_deep_agent(
        model=model, subagents=helpers, middleware=[guard], system_prompt="You are the main agent."
    )


SCENARIOS: dict[str, tuple[Scenario, Callable[[], ReplyPolicy]]] = {
    "sequential": (sequential, forever),
    "streaming": (streaming, forever),
    "429s and retries": (retried, now_and_then_down),
    "429s and fallbacks": (falling_back, partial(now_and_then_down, (2,))),
    "20 threads": (in_threads, forever),
    "async x 50": (in_tasks, forever),
    "deep, 3 sub-agents": (deep, forever),
    "deep, each governed": (deep_governed, forever),
}


# -- what they come to -----------------------------------------------------------------------------------------------


def run(package: str, name: str, *, callback: bool) -> tuple[Bill, int, int]:
    """The provider's bill, what the ledger has charged and still holds, and the provider's calls in the report."""
    make, cheaper = MODELS[package]
    scenario, policy = SCENARIOS[name]
    with ProviderProcess(policy) as provider:
        budget, ledger = Budget(usd="1.00"), open_ledger("memory://")
        guard = BudgetMiddleware(budget=budget, ledger=ledger)
        config: Any = {"configurable": {"thread_id": "fixture"}, "recursion_limit": 500}
        if callback:
            config["callbacks"] = [CostCallback(budget=budget, ledger=ledger, session="fixture")]
        scenario(make(provider), make(provider, cheaper), guard, config)
        report = guard.spend(config)
        charged = sum(b.spent + b.held for b in report.balances if b.account.unit == "usd")
        return provider.bill(), charged, report.cost_nanos


def main() -> None:
    logging.disable(logging.CRITICAL)  # refusals are what is measured here
    print(f"{'':50}calls    bill $  overshoot  utilization  ledger")
    failed = False
    for package in MODELS:
        for name in SCENARIOS:
            for callback in (False, True):
                bill, charged, reported = run(package, name, callback=callback)
                overshoot = max(0, bill.nanos - CAP_NANOS) / CAP_NANOS
                agrees = charged == bill.nanos == reported
                failed = failed or overshoot > 0 or not agrees or not bill.nanos
                print(
                    f"{package:20}{name:20}{'+ callback' if callback else '':10}{len(bill.requests):5}"
                    f"{bill.nanos / 1e9:10.4f}{overshoot:+11.0%}{bill.nanos / CAP_NANOS:13.1%}"
                    f"  {'= bill' if agrees else 'differs'}",
                    flush=True,
                )
    print("Something was overspent or miscounted." if failed else "The cap held, and the ledger is the bill.")
    sys.exit(failed)


if __name__ == "__main__":
    main()
