"""``BudgetMiddleware`` among other middleware, before and behind it: every attempt and every model call is charged."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolRetryMiddleware,
)
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from budgeted_agents import Budget, BudgetExceeded, BudgetMiddleware, budgeted
from budgeted_agents.testing import Reply, Request, ToolCall
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

AMPLE = Budget(usd="1.00", max_wait=0)
FOUR = Budget(usd="0.05", model_calls=4, max_wait=0)


def once(request: Request) -> Reply:
    """One tool call, then an answer."""
    return Reply("Done.") if request.tool_results else looks_up_forever(request)


def ordered(guard: Any, other: Any, first: bool) -> list[Any]:
    return [guard, other] if first else [other, guard]


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("is_async", [False, True])
def test_each_attempt_of_a_retried_model_call_is_charged(first: bool, is_async: bool) -> None:
    """A gateway's time-out may have been billed: it stays charged, and so does the attempt that follows."""

    def reply(request: Request) -> Reply:
        return Reply("gateway", status=504) if request.number in (1, 2) else Reply("Done.")

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=AMPLE)
        retry = ModelRetryMiddleware(max_retries=3, initial_delay=0.001, jitter=False)
        model = openai_model(provider, max_tokens=40, max_retries=0)
        app: Any = create_agent(model, middleware=ordered(guard, retry, first))
        state = asyncio.run(app.ainvoke(ASK, thread())) if is_async else app.invoke(ASK, thread())
        assert state["messages"][-1].text == "Done."
        calls = guard.spend(thread()).model_calls
        assert [call.outcome for call in calls] == ["presumed", "presumed", "settled"]
        assert all(call.cost for call in calls)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("is_async", [False, True])
def test_the_model_fallen_back_to_is_charged_at_its_own_price(first: bool, is_async: bool) -> None:
    def reply(request: Request) -> Reply:
        return Reply("down", status=500) if request.model == "gpt-4o" else Reply("Done.")

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=AMPLE)
        fallback = ModelFallbackMiddleware(openai_model(provider, "gpt-4o-mini", max_tokens=40))
        app: Any = create_agent(
            openai_model(provider, max_tokens=40, max_retries=0), middleware=ordered(guard, fallback, first)
        )
        asyncio.run(app.ainvoke(ASK, thread())) if is_async else app.invoke(ASK, thread())
        report = guard.spend(thread())
        assert [(call.model_used, call.outcome) for call in report.model_calls] == [
            ("gpt-4o", "released"),
            ("gpt-4o-mini", "settled"),
        ]
        assert_within(report, provider)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_each_attempt_of_a_retried_tool_is_counted(first: bool) -> None:
    tries: list[str] = []

    @tool
    def look_up(word: str) -> str:
        """Looks a word up."""
        tries.append(word)
        raise ConnectionError("no line")

    with serving(once) as provider:
        guard = BudgetMiddleware(budget=Budget(usd="1.00", tool_calls=2, max_wait=0))
        retry = ToolRetryMiddleware(max_retries=5, initial_delay=0.001, jitter=False)
        app: Any = create_agent(openai_model(provider), [look_up], middleware=ordered(guard, retry, first))
        state = app.invoke(ASK, thread())
        report = guard.spend(thread())
        assert len(tries) == len(report.tool_calls) == 2
        assert state["messages"][-1].text == "Done."
        assert_complete(state["messages"])


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("is_async", [False, True])
def test_the_summarizers_own_calls_are_charged(first: bool, is_async: bool) -> None:
    def reply(request: Request) -> Reply:
        if request.model == "gpt-4o-mini":
            return Reply("They said a lot.")
        return once(request)

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=AMPLE)
        summarize = SummarizationMiddleware(
            openai_model(provider, "gpt-4o-mini", max_tokens=40), trigger=("messages", 4), keep=("messages", 2)
        )
        app: Any = create_agent(openai_model(provider), [look_up], middleware=ordered(guard, summarize, first))
        history = {"messages": [HumanMessage(f"Message {number}.") for number in range(6)]}
        asyncio.run(app.ainvoke(history, thread())) if is_async else app.invoke(history, thread())
        report = guard.spend(thread())
        assert "gpt-4o-mini" in {call.model_used for call in report.model_calls}
        assert len(report.model_calls) == len(provider.requests)
        assert_within(report, provider)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_the_tool_selectors_own_calls_are_charged(first: bool) -> None:
    def reply(request: Request) -> Reply:
        return Reply('{"tools": ["look_up"]}') if request.model == "gpt-4o-mini" else once(request)

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=AMPLE)
        select = LLMToolSelectorMiddleware(model=openai_model(provider, "gpt-4o-mini"), max_tools=1)
        app: Any = create_agent(openai_model(provider), [look_up], middleware=ordered(guard, select, first))
        app.invoke(ASK, thread())
        report = guard.spend(thread())
        assert len(report.model_calls) == len(provider.requests) == 4
        assert_within(report, provider)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_limits_on_calls_and_money_hold_side_by_side(first: bool) -> None:
    with serving(looks_up_forever) as provider:
        guard = BudgetMiddleware(budget=AMPLE)
        limit = ModelCallLimitMiddleware(run_limit=2)
        app: Any = create_agent(openai_model(provider), [look_up], middleware=ordered(guard, limit, first))
        app.invoke(ASK, thread())
        assert len(provider.requests) == 2
        assert_within(guard.spend(thread()), provider)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_person_may_be_asked_in_between(first: bool, is_async: bool) -> None:
    with serving(looks_up_forever) as provider:
        guard = BudgetMiddleware(budget=FOUR)
        ask_a_person = HumanInTheLoopMiddleware(interrupt_on={"look_up": True})
        app: Any = create_agent(
            openai_model(provider, max_tokens=40),
            [look_up],
            middleware=ordered(guard, ask_a_person, first),
            checkpointer=InMemorySaver(),
        )

        def go(state: Any) -> Any:
            return asyncio.run(app.ainvoke(state, thread())) if is_async else app.invoke(state, thread())

        state, asked = go(ASK), 0
        while state.get("__interrupt__"):
            asked += 1
            decision = {"type": "reject"} if asked == 1 else {"type": "approve"}
            state = go(Command(resume={"decisions": [decision]}))
        assert asked == 3
        assert state["messages"][-1].text == LANDED
        assert_complete(state["messages"])
        report = guard.spend(thread())
        assert len(report.model_calls) == 4
        assert_within(report, provider)


def test_todo_lists_and_redaction_work_as_ever() -> None:
    seen: list[str] = []

    def reply(request: Request) -> Reply:
        seen.append(" ".join(request.user_texts))
        if request.tool_results:
            return Reply("Done.")
        todos = [{"content": "write to a@b.example", "status": "pending"}]
        return Reply("", [ToolCall("write_todos", {"todos": todos}, id="call_1")])

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=AMPLE)
        app: Any = create_agent(
            openai_model(provider),
            [look_up],
            middleware=cast("Any", [TodoListMiddleware(), PIIMiddleware("email"), guard]),
        )
        state: Any = app.invoke({"messages": [HumanMessage("Write to c@d.example.")]}, thread())
        assert state["todos"]
        assert "c@d.example" not in seen[0]
        assert_within(guard.spend(thread()), provider)


@pytest.mark.parametrize("way", ["land", "suspend", "raise"])
def test_a_refused_tool_is_answered_and_the_agent_goes_on(way: Any) -> None:
    def reply(request: Request) -> Reply:
        if len(request.tool_results) >= 4:
            return Reply("Done.")
        calls = [ToolCall("look_up", {"word": w}, id=f"call_{request.number}_{w}") for w in ("a", "b")]
        return Reply("", calls)

    with serving(reply) as provider:
        guard = BudgetMiddleware(budget=Budget(usd="1.00", tool_calls=3, on_exhausted=way, max_wait=0))
        app: Any = create_agent(openai_model(provider), [look_up], middleware=[guard])
        state: Any = app.invoke(ASK, thread())
        refused = [m for m in state["messages"] if isinstance(m, ToolMessage) and m.status == "error"]
        assert len(refused) == 1
        assert (
            "This tool was not called: Budget 'session' cannot cover another call of tool 'look_up'" in refused[0].text
        )
        assert state["messages"][-1].text == "Done."
        assert len(guard.spend(thread()).tool_calls) == 3


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_refusal_in_other_middleware_is_raised_if_it_is_to_be(first: bool, is_async: bool) -> None:
    """Nothing else would tell the caller that the agent had not ended by itself."""
    with serving(once) as provider:
        guardrail = openai_model(provider, "gpt-4o-mini", max_tokens=50)

        class Guardrail(AgentMiddleware):
            def before_model(self, state: Any, runtime: Any) -> None:
                guardrail.invoke("Is this safe?")

        guard = BudgetMiddleware(budget=Budget(model_calls=2, on_exhausted="raise", max_wait=0))
        app: Any = create_agent(
            openai_model(provider, max_tokens=50), [look_up], middleware=ordered(guard, Guardrail(), first)
        )
        with pytest.raises(BudgetExceeded, match="cannot cover a call of gpt-4o-mini"):
            asyncio.run(app.ainvoke(ASK, thread())) if is_async else app.invoke(ASK, thread())
        assert_within(guard.spend(thread()), provider)


def test_loops_count_the_times_the_model_is_asked() -> None:
    with serving(looks_up_forever) as provider:
        app, guard = endless_agent(provider, Budget(usd="1.00", loops=3, max_wait=0))
        state = app.invoke(ASK, thread())
        assert state["messages"][-1].text == LANDED
        assert len(provider.requests) == 4
        assert "another visit of node 'model'" in guard.spend(thread()).refusals[0]


def test_a_cheaper_tier_answers_before_the_money_is_gone() -> None:
    with serving(looks_up_forever) as provider:
        cheap = openai_model(provider, "gpt-4o-mini", max_tokens=40)
        app, guard = endless_agent(provider, Budget(usd="0.004", loops=30, max_wait=0), models=[cheap])
        app.invoke(ASK, thread())
        report = guard.spend(thread())
        assert {call.model_used for call in report.model_calls} == {"gpt-4o", "gpt-4o-mini"}
        assert report.downgrades
        assert_within(report, provider)


@pytest.mark.parametrize("outside", ["budgeted", "callback"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_governed_twice_is_charged_once(outside: str, is_async: bool, tmp_path: Any) -> None:
    from budgeted_agents import CostCallback, open_ledger

    ledger = open_ledger(f"sqlite:///{tmp_path / 'spend.db'}")
    with serving(once) as provider:
        guard = BudgetMiddleware(budget=Budget(name="agent", usd="1.00", tool_calls=5, max_wait=0), ledger=ledger)
        app: Any = create_agent(openai_model(provider), [look_up], middleware=[guard])
        config: Any = thread()
        around = Budget(name="around", usd="2.00", tool_calls=9, max_wait=0)
        if outside == "budgeted":
            app = budgeted(app, budget=around, ledger=ledger)
        else:
            config["callbacks"] = [CostCallback(budget=around, ledger=ledger, session="t1")]
        asyncio.run(app.ainvoke(ASK, config)) if is_async else app.invoke(ASK, config)
        report = guard.spend(thread())
        assert len(report.model_calls) == len(provider.requests) == 2
        assert_within(report, provider)
        spent = {(b.account.budget, b.account.unit): b.spent for b in report.balances}
        assert spent["agent", "usd"] == spent["around", "usd"] == provider.bill_nanos
        assert spent["agent", "tool_calls"] == spent["around", "tool_calls"] == 1
    ledger.close()


def test_a_model_that_is_made_only_when_it_is_called_is_charged_and_stopped() -> None:
    with serving(looks_up_forever) as provider:
        settings: dict[str, Any] = {"base_url": provider.base_url, "api_key": "sk-local", "max_tokens": 40}
        made_late: Any = init_chat_model("openai:gpt-4o", configurable_fields=("temperature",), **settings)
        guard = BudgetMiddleware(budget=FOUR)
        app: Any = create_agent(made_late, [look_up], middleware=[guard])
        state = app.invoke(ASK, thread())
        assert state["messages"][-1].text.startswith("I had to stop here")
        assert_complete(state["messages"])
        assert len(provider.requests) == 3
        assert_within(guard.spend(thread()), provider)
