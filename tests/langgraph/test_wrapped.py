"""``budgeted(...)`` around what is compiled already: create_agent, create_deep_agent, functional and plain graphs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph

from budgeted_agents import Budget, BudgetExceeded, budgeted, budgeted_model
from budgeted_agents.errors import InvalidGraph
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall, fixed
from tests.langgraph.support import State, assert_exact, openai_model, serving, thread

CAP = Decimal("0.05")
QUESTION: Any = {"messages": [HumanMessage("What is a tree?")]}


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} is a word."


def always_calling(request: Request) -> Reply:
    calls = [ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}_{n}") for n in (1, 2)]
    return Reply("thinking", calls) if request.tools else Reply("A short answer.")


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(always_calling) as running:
        yield running


def models(provider: LocalProvider, governed: bool) -> Any:
    plain = openai_model(provider, max_tokens=200)
    return budgeted_model(plain, openai_model(provider, "gpt-4o-mini", max_tokens=200)) if governed else plain


@pytest.mark.parametrize("governed", [True, False])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("saves", [False, True])
def test_create_agent_lands_with_an_answer_and_a_valid_history(
    governed: bool, is_async: bool, saves: bool, provider: LocalProvider
) -> None:
    agent: Any = create_agent(models(provider, governed), [look_up], checkpointer=InMemorySaver() if saves else None)
    app: Any = budgeted(agent, budget=Budget(usd=CAP, model_calls=4))
    state: Any = asyncio.run(app.ainvoke(QUESTION, thread())) if is_async else app.invoke(QUESTION, thread())
    assert_exact(app.spend(thread()), provider, CAP)
    assert app.spend(thread()).landing
    assert len(provider.requests) == (4 if governed else 3)
    last = state["messages"][-1].text
    assert last == "A short answer." if governed else last.startswith("I had to stop here")
    openai_model(provider).bind_tools([look_up]).invoke([*state["messages"], HumanMessage("Go on.")])


def test_the_graph_given_is_left_as_it_is(provider: LocalProvider) -> None:
    agent: Any = create_agent(models(provider, governed=False).bind(stop=["x"]), [look_up])
    nodes = dict(agent.nodes)
    app: Any = budgeted(agent, budget=Budget(model_calls=2))
    assert type(app).__name__ == type(agent).__name__
    assert agent.nodes == nodes
    assert not hasattr(agent, "spend")
    with pytest.raises(Exception, match="Recursion limit"):
        agent.invoke(QUESTION, {"recursion_limit": 12})
    assert len(provider.requests) > 4


def test_tool_caps_inside_create_agent_are_answered_by_messages() -> None:
    def reply(request: Request) -> Reply:
        turn = sum(message.role == "assistant" for message in request.messages)
        return Reply("The answer.") if turn == 3 else always_calling(request)

    with serving(reply) as provider:
        app: Any = budgeted(create_agent(models(provider, governed=True), [look_up]), budget=Budget(tool_calls=3))
        state: Any = app.invoke(QUESTION, thread())
        statuses = [message.status for message in state["messages"] if isinstance(message, ToolMessage)]
        assert statuses.count("success") == 3
        assert statuses.count("error") == 3
        assert state["messages"][-1].text == "The answer."
        assert not app.spend(thread()).landing


def test_retrying_middleware_does_not_retry_a_refusal(provider: LocalProvider) -> None:
    retrying = ModelRetryMiddleware(max_retries=5, initial_delay=0.0, jitter=False)
    agent: Any = create_agent(models(provider, governed=True), [look_up], middleware=[retrying])
    app: Any = budgeted(agent, budget=Budget(model_calls=3))
    app.invoke(QUESTION, thread())
    assert len(app.spend(thread()).refusals) == 1
    assert len(provider.requests) == 3


@pytest.mark.parametrize("is_async", [False, True])
def test_create_deep_agent_and_its_subagents_are_governed(is_async: bool) -> None:
    """The agent hands everything to a subagent, which calls its tool forever."""

    def reply(request: Request) -> Reply:
        if not request.tools:
            return Reply("A short answer.")
        if "task" in request.tool_names:
            given = {"description": "Look trees up.", "subagent_type": "helper"}
            return Reply(tool_calls=[ToolCall("task", given, id=f"task_{request.number}")])
        return Reply(tool_calls=[ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}")])

    with serving(reply) as provider:
        helper: Any = {"name": "helper", "description": "Helps.", "system_prompt": "Help.", "tools": [look_up]}
        agent: Any = create_deep_agent(models(provider, governed=True), tools=[look_up], subagents=[helper])
        app: Any = budgeted(agent, budget=Budget(usd="0.5", model_calls=6))
        state: Any = asyncio.run(app.ainvoke(QUESTION, thread())) if is_async else app.invoke(QUESTION, thread())
        assert_exact(app.spend(thread()), provider, Decimal("0.5"))
        assert len(provider.requests) == 6
        assert app.spend(thread()).landing == "Landed by the default finalizer"
        assert state["messages"][-1].text == "A short answer."
        openai_model(provider).bind_tools([look_up]).invoke([*state["messages"], HumanMessage("Go on.")])


def test_an_entrypoint_and_its_tasks_are_governed() -> None:
    with serving(fixed("fine", output_tokens=2)) as provider:
        model = openai_model(provider, max_tokens=10)

        @task
        def ask(word: str) -> str:
            return str(model.invoke(word).text)

        @entrypoint(checkpointer=InMemorySaver())
        def work(words: list[str]) -> list[str]:
            return [ask(word).result() for word in words]

        app: Any = budgeted(work, budget=Budget(model_calls=3, landing_reserve=0))
        assert app.invoke(["a", "b"], thread()) == ["fine", "fine"]
        app.invoke(["c", "d", "e"], thread())
        assert len(provider.requests) == 3
        assert app.spend(thread()).cost_nanos == provider.bill_nanos
        assert len(app.spend(thread()).refusals) >= 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_suspended_entrypoint_goes_on_after_a_top_up(is_async: bool) -> None:
    from budgeted_agents.ledgers.contract import Account

    with serving(fixed("fine", output_tokens=2)) as provider:
        model = openai_model(provider, max_tokens=10)

        @task
        async def ask(word: str) -> str:
            return str((await model.ainvoke(word)).text)

        @entrypoint(checkpointer=InMemorySaver())
        async def work(words: list[str]) -> list[str]:
            return [await ask(word) for word in words]

        app: Any = budgeted(work, budget=Budget(model_calls=2, on_exhausted="suspend"))
        asyncio.run(app.ainvoke(["a", "b", "c"], thread()))
        assert len(provider.requests) == 2
        account = Account("session", (("session", "t1"),), unit="model_calls")
        app.settings.meter.ledger.credit("top-up", account, 1, limit=2, now=0.0)
        assert asyncio.run(app.ainvoke(None, thread())) == ["fine", "fine", "fine"]
        assert len(provider.requests) == 3  # what was paid for is not asked again


def test_a_graph_is_not_governed_twice() -> None:
    """Neither budget could take the place of the other, and each would count loops and depth in its own way."""
    graph: Any = StateGraph(State)
    graph.add_node("work", lambda state: None)
    graph.add_edge(START, "work")
    once = budgeted(graph.compile(), budget=Budget(model_calls=9))
    for governed in (once, once.with_config(tags=["x"])):
        with pytest.raises(InvalidGraph, match=r"has a budget already. Give all budgets at once") as raised:
            budgeted(governed, budget=Budget(model_calls=2))
        assert raised.value.field == "graph"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", ["land", "suspend"])
def test_an_entrypoint_has_no_state_to_land_with_and_so_keeps_what_its_tasks_have_paid_for(
    way: Any, is_async: bool
) -> None:
    with serving(fixed("fine", output_tokens=2)) as provider:
        model = openai_model(provider, max_tokens=10)

        @task
        def ask(word: str) -> str:
            return str(model.invoke(word).text)

        @task
        async def aask(word: str) -> str:
            return str((await model.ainvoke(word)).text)

        @entrypoint(checkpointer=InMemorySaver())
        def work(words: list[str]) -> list[str]:
            return [ask(word).result() for word in words]

        @entrypoint(checkpointer=InMemorySaver())
        async def awork(words: list[str]) -> list[str]:
            return [await aask(word) for word in words]

        app: Any = budgeted(awork if is_async else work, budget=Budget(model_calls=2, on_exhausted=way))

        def invoke(given: Any) -> Any:
            return asyncio.run(app.ainvoke(given, thread())) if is_async else app.invoke(given, thread())

        assert invoke(["a", "b", "c"]) is None
        assert app.get_state(thread()).next
        app.top_up(thread(), model_calls=1, by="ada")
        assert invoke(None) == ["fine"] * 3
        assert len(provider.requests) == 3  # what was paid for is not asked again


def test_an_entrypoint_may_catch_the_refusal_and_give_what_it_has() -> None:
    with serving(fixed("fine", output_tokens=2)) as provider:
        model = openai_model(provider, max_tokens=10)

        @task
        def ask(word: str) -> str:
            return str(model.invoke(word).text)

        @entrypoint()
        def work(words: list[str]) -> list[str]:
            found = []
            try:
                found += [ask(words[0]).result()]
                found += [ask(words[1]).result()]
                found += [ask(words[2]).result()]
            except BudgetExceeded:
                found.append("no more money")
            return found

        app: Any = budgeted(work, budget=Budget(model_calls=2))
        assert app.invoke(["a", "b", "c"]) == ["fine", "fine", "no more money"]


def test_an_entrypoint_takes_no_finalizer() -> None:
    @entrypoint()
    def work(words: list[str]) -> list[str]:
        return words

    with pytest.raises(InvalidGraph, match="Catch BudgetExceeded"):
        budgeted(work, budget=Budget(model_calls=2), finalizer=lambda state: state)
