"""Running a piece of code inside a governed run, and models on the wire of the local provider."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

from langchain_anthropic import ChatAnthropic
from langchain_google_genai import ChatGoogleGenerativeAI
from langgraph.graph import START
from pydantic import SecretStr

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider


class Nothing(TypedDict):
    nothing: int


class Governed:
    """A session with a budget in which any code can be run."""

    def __init__(self, budget: Budget | None = None, **settings: Any) -> None:
        self._budget = budget or Budget(usd=1)
        self._settings = settings

    def run(self, work: Callable[[], Any]) -> SpendReport:
        return self._report(lambda app: app.invoke({"nothing": 0}), lambda state: (work(), None)[1])

    def arun(self, work: Callable[[], Awaitable[Any]]) -> SpendReport:
        async def node(state: Nothing) -> None:
            await work()

        return self._report(lambda app: asyncio.run(app.ainvoke({"nothing": 0})), node)

    def _report(self, start: Callable[[Any], Any], node: Any) -> SpendReport:
        graph: Any = BudgetedGraph(Nothing, budget=self._budget, **self._settings)
        graph.add_node("work", node)
        graph.add_edge(START, "work")
        app = graph.compile()
        start(app)
        report: SpendReport = app.spend()
        return report


def anthropic_model(provider: LocalProvider, model: str = "claude-haiku-4-5", **settings: Any) -> ChatAnthropic:
    options: dict[str, Any] = {
        "max_tokens": 100,
        "base_url": provider.url,
        "api_key": SecretStr("sk-local"),
        **settings,
    }
    return ChatAnthropic(model_name=model, **options)


def gemini_model(provider: LocalProvider, **settings: Any) -> ChatGoogleGenerativeAI:
    options: dict[str, Any] = {
        "model": "gemini-3.5-flash-lite",
        "max_output_tokens": 100,
        "api_key": SecretStr("local"),
        **settings,
    }
    return ChatGoogleGenerativeAI(base_url=provider.url, **options)


def litellm_model(provider: LocalProvider, *names: str, **settings: Any) -> Any:
    """Models by their LiteLLM names, best first."""
    return budgeted_model(
        *(names or ("openai/gpt-4o",)), api_base=provider.base_url, api_key="sk-local", max_tokens=100, **settings
    )
