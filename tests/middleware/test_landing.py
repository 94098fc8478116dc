"""How an agent ends when its budget is spent: with an answer, structured where asked for, suspended, or by raising."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

from budgeted_agents import Budget, BudgetExceeded, BudgetMiddleware
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.langgraph.support import assert_all_kept
from tests.middleware.support import (
    ASK,
    LANDED,
    assert_complete,
    assert_within,
    endless_agent,
    look_up,
    looks_up_forever,
    openai_model,
    serving,
    thread,
)

THREE = Budget(model_calls=3, usd="0.05", max_wait=0)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(looks_up_forever) as running:
        yield running


class Finding(BaseModel):
    """What was found."""

    summary: str


def run(app: Any, is_async: bool, state: Any = ASK, config: Any = None) -> Any:
    config = config or thread()
    return asyncio.run(app.ainvoke(state, config)) if is_async else app.invoke(state, config)


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_structured_answer_is_given_on_the_landing_reserve(strategy: Any, is_async: bool) -> None:
    def reply(request: Request) -> Reply:
        if "look_up" in request.tool_names:
            return looks_up_forever(request)
        if strategy is ToolStrategy:
            return Reply("", [ToolCall("Finding", {"summary": LANDED}, id=f"call_{request.number}")])
        return Reply('{"summary": "Here is what I have."}')

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=THREE)
        model = openai_model(provider, max_tokens=60)
        app = create_agent(model, [look_up], middleware=[guard], response_format=strategy(Finding))
        state = run(app, is_async)
        assert state["structured_response"] == Finding(summary=LANDED)
        assert_complete(state["messages"])
        report = guard.spend(thread())
        assert report.landing == "Landed by the default finalizer"
        assert_within(report, provider)


def test_where_no_structure_comes_there_is_at_least_a_text(provider: LocalProvider) -> None:
    guard = BudgetMiddleware(budget=Budget(model_calls=4, landing_reserve=0.5, max_wait=0))
    model = openai_model(provider, max_tokens=60)
    app = create_agent(model, [look_up], middleware=[guard], response_format=ProviderStrategy(list_of_findings()))
    state = run(app, is_async=False)
    assert state["messages"][-1].text
    assert not state["messages"][-1].tool_calls
    assert_within(guard.spend(thread()), provider)


def list_of_findings() -> dict[str, Any]:
    finding = Finding.model_json_schema()
    return {"title": "Findings", "type": "object", "properties": {"all": {"type": "array", "items": finding}}}


@pytest.mark.parametrize("tools", [[look_up], []], ids=["tools", "no tools"])
@pytest.mark.parametrize("is_async", [False, True])
def test_without_money_for_a_structure_there_is_a_plain_sentence(tools: Any, is_async: bool) -> None:
    with serving(looks_up_forever) as provider:
        guard = BudgetMiddleware(budget=Budget(usd="0.000001", max_wait=0))
        app = create_agent(openai_model(provider), tools, middleware=[guard], response_format=ToolStrategy(Finding))
        state = run(app, is_async)
        assert state.get("structured_response") is None
        assert state["messages"][-1].text.startswith("I had to stop here because the budget for this task is spent.")
        assert not provider.requests
        assert guard.spend(thread()).landing == "Landed with the partial state"


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("shape", ["text", "message", "update"])
def test_a_finalizer_of_the_users_own_ends_the_run(is_async: bool, shape: str, provider: LocalProvider) -> None:
    seen: list[Any] = []

    def wrap_up(state: Any) -> Any:
        seen.append(state)
        shapes = {"text": "Done.", "message": AIMessage("Done."), "update": {"messages": [AIMessage("Done.")]}}
        return shapes[shape]

    app, guard = endless_agent(provider, THREE, finalizer=wrap_up)
    state = run(app, is_async)
    assert state["messages"][-1].text == "Done."
    assert_complete(seen[0]["messages"])
    assert guard.spend(thread()).landing == "Landed by the agent's own finalizer"


def test_a_finalizer_that_calls_a_model_spends_the_reserve(provider: LocalProvider) -> None:
    model = openai_model(provider, max_tokens=20)

    async def wrap_up(state: Any) -> Any:
        return await model.ainvoke("Sum up.")

    app, guard = endless_agent(provider, THREE, finalizer=wrap_up)
    state = run(app, is_async=True)
    assert state["messages"][-1].text == LANDED
    assert_within(guard.spend(thread()), provider)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_suspended_run_goes_on_where_it_stopped(is_async: bool, provider: LocalProvider) -> None:
    budget = Budget(model_calls=2, on_exhausted="suspend", max_wait=0)
    app, guard = endless_agent(provider, budget, checkpointer=InMemorySaver())
    state = run(app, is_async)
    assert isinstance(state["messages"][-1], ToolMessage)
    assert app.get_state(thread()).next == ("model",)
    guard.top_up(thread(), model_calls=1, by="test", reason="more to do")
    state = run(app, is_async, None)
    assert len(provider.requests) == 3
    assert app.get_state(thread()).next == ("model",)
    assert_complete(state["messages"])


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("retry", [False, True])
def test_a_budget_that_asks_to_raise_raises_once(is_async: bool, retry: bool, provider: LocalProvider) -> None:
    around = [ModelRetryMiddleware(max_retries=3, initial_delay=0.001)] if retry else []
    budget = Budget(model_calls=2, on_exhausted="raise", max_wait=0)
    app, guard = endless_agent(provider, budget, middleware=around, checkpointer=InMemorySaver())
    with pytest.raises(BudgetExceeded, match="cannot cover a call of gpt-4o") as raised:
        run(app, is_async)
    assert raised.value.budget == "session"
    assert isinstance(raised.value, GraphBubbleUp)
    assert len(guard.spend(thread()).refusals) == 1
    assert len(app.get_state(thread()).values["messages"]) == 5


@pytest.mark.parametrize(
    ("last", "failure"),
    [
        (Reply("down", status=400), "OpenAIInvalidRequestError"),
        (Reply("", output_tokens=40, reasoning_tokens=40), "an empty answer"),
    ],
)
def test_a_provider_that_fails_at_the_landing_leaves_the_partial_state(last: Reply, failure: str) -> None:
    with serving(lambda request: looks_up_forever(request) if request.tools else last) as provider:
        app, guard = endless_agent(provider, THREE)
        state = run(app, is_async=False)
        assert state["messages"][-1].text.startswith("I had to stop here")
        assert guard.spend(thread()).landing == f"Landed with the partial state (the finalizer failed: {failure})"
        assert_all_kept(state["messages"], provider)


def test_a_landed_thread_can_be_asked_again_and_lands_at_once(provider: LocalProvider) -> None:
    app, guard = endless_agent(provider, THREE, checkpointer=InMemorySaver())
    run(app, is_async=False)
    requests = len(provider.requests)
    state = run(app, is_async=False, state={"messages": [HumanMessage("And now?")]})
    assert state["messages"][-1].text.startswith("I had to stop here")
    assert len(provider.requests) == requests
    assert_complete(state["messages"])
    assert_within(guard.spend(thread()), provider)
