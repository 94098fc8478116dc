"""What the tests of summaries share: an agent that outgrows its context, and what is asserted of its run."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START
from langgraph.prebuilt import ToolNode

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.integrations.langchain.pruning.overflow import HEADING
from budgeted_agents.integrations.langchain.pruning.summarizing import PURPOSE
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider, Reply, Request
from budgeted_agents.traces import CallRecord
from tests.langgraph.support import assert_exact, calls_tool, openai_model

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

    async def aask(state: Chat) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke([SystemMessage("Be brief."), *state["messages"]])]}

    graph.add_node("agent", RunnableLambda(ask, aask))
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", lambda s: "tools" if s["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "agent")
    return graph


def two_tiers(provider: LocalProvider) -> Any:
    return budgeted_model(openai_model(provider, max_tokens=100), openai_model(provider, "gpt-4o-mini", max_tokens=100))


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


def ask_once(model: Any, budget: Any = BUDGET) -> Any:
    graph: Any = BudgetedGraph(Chat, budget=budget)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "agent")
    return graph.compile()


def mini(**limits: Any) -> Budget:
    """A budget for what only summaries are made with."""
    return Budget(name="mini", where={"model": ("gpt-4o-mini",)}, landing_reserve=0, **limits)


RUNS: dict[str, Any] = {
    "invoke": lambda app, config: app.invoke(ASK, config),
    "ainvoke": lambda app, config: asyncio.run(app.ainvoke(ASK, config)),
    "stream": lambda app, config: list(app.stream(ASK, config, stream_mode="messages")),
    "astream": lambda app, config: asyncio.run(collected(app.astream(ASK, config, stream_mode="messages"))),
}


async def collected(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]
