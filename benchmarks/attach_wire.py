"""The wire fixture through applications that are not changed: only a ``CostCallback`` is added to their config.

    python -m benchmarks.attach_wire

A $1.00 cap, gpt-4o and claude-haiku-4-5, about 8,000 tokens in and up to 16,000 out, over real HTTP through
langchain-openai, ChatLiteLLM and langchain-anthropic. A local provider in a process of its own bills each call when it
arrives. Leaves with 1 if anything is spent above the cap, or if the ledger and the bill differ.

A callback cannot shorten an answer, so the last answer that would not fit whole is not asked for: utilization is lower
than with ``budgeted_model``.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send
from pydantic import SecretStr

from benchmarks.support.provider import Bill, ProviderProcess
from benchmarks.wire_fixture import CAP_NANOS, OUTPUT_TOKENS, PROMPT
from budgeted_agents import Budget, BudgetExceeded, CostCallback
from budgeted_agents.integrations.litellm import chat_model
from budgeted_agents.testing import fill

ASKS, ASYNC_ASKS = 20, 50
KEY = SecretStr("sk-local")

Model = Any
Scenario = Callable[[Model, Any], None]
"""Asks the model for more than the cap, with this config."""


# -- models, as the packages make them -------------------------------------------------------------------------------


def langchain_openai(provider: ProviderProcess, model: str = "gpt-4o") -> Model:
    settings: dict[str, Any] = {"max_tokens": OUTPUT_TOKENS, "stream_usage": True}
    return ChatOpenAI(model=model, base_url=provider.base_url, api_key=KEY, **settings)


def chat_litellm(provider: ProviderProcess, model: str = "gpt-4o") -> Model:
    return chat_model(f"openai/{model}", api_base=provider.base_url, api_key="sk-local", max_tokens=OUTPUT_TOKENS)


def langchain_anthropic(provider: ProviderProcess, model: str = "claude-haiku-4-5") -> Model:
    settings: dict[str, Any] = {"max_tokens": OUTPUT_TOKENS}
    return ChatAnthropic(model_name=model, base_url=provider.url, api_key=KEY, **settings)


MODELS: dict[str, tuple[Callable[..., Model], str]] = {
    "langchain-openai": (langchain_openai, "gpt-4o-mini"),
    "ChatLiteLLM": (chat_litellm, "gpt-4o-mini"),
    "langchain-anthropic": (langchain_anthropic, "claude-haiku-4-5"),
}
"""How each package's model is made, and the model to fall back to."""


# -- unmodified applications -----------------------------------------------------------------------------------------


def sequential(model: Model, fallback: Model, config: Any) -> None:
    chain = RunnableLambda(lambda _: PROMPT) | model
    with suppress(BudgetExceeded):
        for _ in range(ASKS):
            chain.invoke("", config)


def streaming(model: Model, fallback: Model, config: Any) -> None:
    chain = RunnableLambda(lambda _: PROMPT) | model
    with suppress(BudgetExceeded):
        for _ in range(ASKS):
            for _chunk in chain.stream("", config):
                pass


def catch_and_retry(model: Model, fallback: Model, config: Any) -> None:
    stubborn = model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    for _ in range(ASKS):
        with suppress(Exception):
            stubborn.invoke(PROMPT, config)


def fan_out(model: Model, fallback: Model, config: Any) -> None:
    _graph(lambda state: {"messages": [model.invoke(PROMPT)]}, ASKS).invoke({"messages": []}, config)


def async_fan_out(model: Model, fallback: Model, config: Any) -> None:
    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(PROMPT)]}

    asyncio.run(_graph(ask, ASYNC_ASKS).ainvoke({"messages": []}, config))


def with_fallbacks(model: Model, fallback: Model, config: Any) -> None:
    patient = model.with_fallbacks([fallback])
    with suppress(BudgetExceeded):
        for _ in range(4 * ASKS):
            patient.invoke(PROMPT, config)


def _graph(node: Any, tasks: int) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("ask", node)
    graph.add_conditional_edges(START, lambda state: [Send("ask", state) for _ in range(tasks)], ["ask"])
    return graph.compile()


SCENARIOS = {
    "sequential": sequential,
    "streaming": streaming,
    "catch and retry": catch_and_retry,
    "Send x 20": fan_out,
    "async x 50": async_fan_out,
    "with_fallbacks": with_fallbacks,
}


# -- what they come to -----------------------------------------------------------------------------------------------


def run(make: Callable[..., Model], cheaper: str, scenario: Any) -> tuple[Bill, int, int]:
    """The provider's bill, what the ledger has charged and still holds, and the calls in the report."""
    with ProviderProcess(partial(fill, OUTPUT_TOKENS)) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"), session="fixture")
        scenario(make(provider), make(provider, cheaper), {"callbacks": [callback]})
        report = callback.spend
        charged = sum(balance.spent + balance.held for balance in report.balances)
        return provider.bill(), charged, len(report.model_calls)


def main() -> None:
    logging.disable(logging.CRITICAL)  # refusals are what is measured here
    print(f"{'':38}calls    bill $  overshoot  utilization  ledger")
    failed = False
    for package, (make, cheaper) in MODELS.items():
        for name, scenario in SCENARIOS.items():
            bill, charged, calls = run(make, cheaper, scenario)
            overshoot = max(0, bill.nanos - CAP_NANOS) / CAP_NANOS
            agrees = charged == bill.nanos and calls == len(bill.requests)
            failed = failed or overshoot > 0 or not agrees or not bill.nanos
            print(
                f"{package:20}{name:18}{calls:5}{bill.nanos / 1e9:10.4f}{overshoot:+11.0%}"
                f"{bill.nanos / CAP_NANOS:13.1%}  {'= bill' if agrees else 'differs'}",
                flush=True,
            )
    print("Something was overspent or miscounted." if failed else "The cap held, and the ledger is the bill.")
    sys.exit(failed)


if __name__ == "__main__":
    main()
