"""Histories over the cap on context whose oldest turns are summed up: on the wire, in the ledger, and at what cost."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, CostCallback, budgeted, budgeted_model
from budgeted_agents.integrations.langchain.overflow import HEADING
from budgeted_agents.integrations.langchain.summarizing import PURPOSE
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider, Reply, Request
from budgeted_agents.traces import CallRecord
from tests.langgraph.support import assert_exact, calls_tool, openai_model, serving, thread

CAP = 600
STEPS = 24
"""Rounds of the agent: each adds some 60 tokens, so that the history outgrows the cap several times."""

SAYS = "They look words up, one after the other."
BUDGET = Budget(usd="1.00", context_tokens=CAP, context_overflow="summarize")


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} means {'this and that, ' * 10}as they say."


def is_summary(request: Request) -> bool:
    return request.user_texts[-1].startswith("Sum up the transcript")


def looks_up(steps: int = STEPS, summary: Callable[[Request], Reply] = lambda request: Reply(SAYS)) -> Any:
    """A policy that calls a tool so many times and then answers; a summary is answered by a policy of its own."""
    rounds = iter(range(steps))

    def reply(request: Request) -> Reply:
        if is_summary(request):
            return summary(request)
        if request.tools and next(rounds, None) is not None:
            return calls_tool(request, "look_up", word=f"word {request.number}")
        return Reply("Done.")

    return reply


def agent(model: Any, budget: Any = BUDGET, build: Any = None, **settings: Any) -> Any:
    bound = model.bind_tools([look_up])
    graph: Any = build or BudgetedGraph(Chat, budget=budget, **settings)

    def ask(state: Chat) -> dict[str, Any]:
        return {"messages": [bound.invoke([SystemMessage("Be brief."), *state["messages"]])]}

    graph.add_node("agent", ask)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", lambda s: "tools" if s["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "agent")
    return graph


def two_tiers(provider: LocalProvider) -> Any:
    return budgeted_model(
        openai_model(provider, max_tokens=100), openai_model(provider, "gpt-4o-mini", max_tokens=100)
    )


ASK: Any = {"messages": [HumanMessage("Look up all the words there are.")]}


def summaries(report: SpendReport) -> list[CallRecord]:
    return [call for call in report.model_calls if PURPOSE in call.flags]


def answered(provider: LocalProvider) -> list[Request]:
    """The requests for answers, without those for summaries."""
    return [record.request for record in provider.requests if not is_summary(record.request)]


def assert_all_fit(provider: LocalProvider, cap: int = CAP) -> None:
    """Every request was accepted, so its history was valid; and none was over the cap."""
    assert all(record.status == 200 for record in provider.requests)
    assert max(record.usage.input_tokens for record in provider.requests) <= cap


def assert_summed_up(report: SpendReport, provider: LocalProvider, *, most: int = 4) -> None:
    """A few summaries, each charged once as what it was; the history goes on behind the latest."""
    made = summaries(report)
    assert 1 <= len(made) <= most
    assert len(made) == len([record for record in provider.requests if is_summary(record.request)])
    assert len(report.model_calls) == len(provider.requests)
    assert not report.refusals
    assert_exact(report, provider)
    assert_all_fit(provider)
    system, summary, asked, *_ = answered(provider)[-1].messages
    assert (system.role, system.text) == ("system", "Be brief.")
    assert (summary.role, summary.text) == ("user", f"{HEADING}{SAYS}")
    assert (asked.role, asked.text) == ("user", ASK["messages"][0].content)


RUNS: dict[str, Any] = {
    "invoke": lambda app, config: app.invoke(ASK, config),
    "ainvoke": lambda app, config: asyncio.run(app.ainvoke(ASK, config)),
    "stream": lambda app, config: list(app.stream(ASK, config, stream_mode="messages")),
    "astream": lambda app, config: asyncio.run(_all(app.astream(ASK, config, stream_mode="messages"))),
}


async def _all(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


def by_graph(provider: LocalProvider) -> tuple[Any, Any]:
    app = agent(two_tiers(provider)).compile()
    return app, app.spend


def by_wrapping(provider: LocalProvider) -> tuple[Any, Any]:
    app: Any = budgeted(agent(two_tiers(provider), build=StateGraph(Chat)).compile(), budget=BUDGET)
    return app, app.spend


def by_middleware(provider: LocalProvider) -> tuple[Any, Any]:
    guard = BudgetMiddleware(budget=BUDGET, models=[openai_model(provider, "gpt-4o-mini", max_tokens=100)])
    model = openai_model(provider, max_tokens=100)
    return create_agent(model, [look_up], system_prompt="Be brief.", middleware=[guard]), guard.spend


@pytest.mark.parametrize("way", RUNS)
@pytest.mark.parametrize("build", [by_graph, by_wrapping, by_middleware])
def test_a_long_run_goes_on_behind_a_few_summaries(build: Any, way: str) -> None:
    with serving(looks_up()) as provider:
        app, spend = build(provider)
        config = thread(f"{build.__name__} {way}")
        seen = RUNS[way](app, config)
        assert_summed_up(spend(config), provider)
        assert len(answered(provider)) == STEPS + 1
        if "stream" in way:
            assert SAYS not in "".join(chunk.text for chunk, _ in seen if isinstance(chunk, AIMessage))
            assert "Done." in "".join(chunk.text for chunk, _ in seen if isinstance(chunk, AIMessage))
