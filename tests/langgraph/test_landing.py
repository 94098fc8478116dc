"""What becomes of a run whose budget is spent: it lands, is suspended, or raises; nothing paid for is lost."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict, get_origin

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Overwrite, Send, interrupt

from budgeted_agents import Budget, BudgetedGraph, BudgetExceeded, budgeted_model, open_ledger
from budgeted_agents.ledgers.contract import Account
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall, fixed
from budgeted_agents.traces import BudgetEvent
from tests.langgraph.support import State, assert_all_kept, openai_model, serving, slim, thread

BEGIN = {"messages": [], "visits": 0}
CALL: Any = {"name": "look_up", "args": {"word": "tree"}, "id": "call_1"}
CALLS = Account("session", (("session", "t1"),), unit="model_calls")


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} is a word."


def always_calling(request: Request) -> Reply:
    """Two tool calls at every turn; an answer where no tool is bound."""
    calls = [ToolCall("look_up", {"word": "tree"}, id=f"call_{request.number}_{n}") for n in (1, 2)]
    return Reply("thinking", calls) if request.tools else Reply("A short answer.")


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(always_calling) as running:
        yield running


def agent(provider: LocalProvider, budget: Budget, *, finalizer: Any = None, tiers: Any = ("gpt-4o",)) -> Any:
    """An agent that asks, calls tools, and asks again, forever."""
    models = [openai_model(provider, name, max_tokens=200) for name in tiers]
    model = budgeted_model(*models).bind_tools([look_up])
    graph: Any = BudgetedGraph(Chat, budget=budget)
    graph.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    graph.add_edge("tools", "agent")
    if finalizer:
        graph.set_finalizer(finalizer)
    return graph


def assert_accepted(provider: LocalProvider, history: list[Any]) -> None:
    """The provider rejects a history in which a tool call has no result."""
    openai_model(provider).bind_tools([look_up]).invoke([*history, HumanMessage("Go on.")])


QUESTION = {"messages": [SystemMessage("Be brief."), HumanMessage("What is a tree?")]}


@pytest.mark.parametrize("is_async", [False, True])
def test_the_default_finalizer_answers_on_the_cheapest_tier_with_no_tools(
    is_async: bool, provider: LocalProvider
) -> None:
    app = agent(provider, Budget(model_calls=4), tiers=("gpt-4o", "gpt-4o-mini")).compile()
    state = asyncio.run(app.ainvoke(QUESTION, thread())) if is_async else app.invoke(QUESTION, thread())
    *work, last = provider.requests
    assert [record.model for record in work] == ["gpt-4o"] * 3
    assert (last.model, last.request.tools) == ("gpt-4o-mini", ())
    assert state["messages"][-1].text == "A short answer."
    assert app.spend(thread()).landing == "Landed by the default finalizer"
    assert_accepted(provider, state["messages"])


def test_the_dearest_useful_answer_is_kept_for_the_landing() -> None:
    """Money, not calls, runs out: the landing reserve alone pays for the answer."""
    with serving(lambda r: always_calling(r) if r.tools else Reply("short", output_tokens=50)) as provider:
        budget = Budget(usd="0.02", landing_reserve=0.3, min_output_tokens=100)
        app = agent(provider, budget, tiers=("gpt-4o", "gpt-4o-mini")).compile()
        state = app.invoke(QUESTION, thread())
        report = app.spend(thread())
        assert report.cost_nanos == provider.bill_nanos
        assert report.landing == "Landed by the default finalizer"
        assert provider.requests[-1].request.tools == ()
        assert_accepted(provider, state["messages"])


def test_without_room_for_a_finalizer_the_partial_state_is_kept_with_a_plain_sentence(provider: LocalProvider) -> None:
    app = agent(provider, Budget(model_calls=2, landing_reserve=0)).compile()
    state = app.invoke(QUESTION, thread())
    assert len(provider.requests) == 2
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    assert last.text.startswith("I had to stop here because the budget for this task is spent.")
    assert "model_calls" in last.text or "model calls" in last.text
    assert app.spend(thread()).landing == "Landed with the partial state"
    assert_accepted(provider, state["messages"])


def test_a_finalizer_of_the_users_own_sees_a_valid_history_and_runs_once(provider: LocalProvider) -> None:
    seen: list[list[Any]] = []
    model = budgeted_model(openai_model(provider, max_tokens=100))

    def wrap_up(state: Chat) -> Any:
        seen.append(state["messages"])
        return {"messages": [model.invoke(state["messages"])]}

    app = agent(provider, Budget(model_calls=3), finalizer=wrap_up).compile()
    state = app.invoke(QUESTION, thread())
    assert len(seen) == 1
    assert state["messages"][-1].text == "A short answer."
    assert len(provider.requests) == 3
    assert app.spend(thread()).landing == "Landed by the graph's own finalizer"
    assert_accepted(provider, seen[0])


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"messages": [AIMessage("done")]},
        {"messages": (AIMessage("done"),)},
        Command(goto=END),
        [Command(update={}), {"messages": [AIMessage("done")]}],
        {"messages": Overwrite([HumanMessage("What is a tree?"), AIMessage("done")])},
    ],
    ids=str,
)
def test_dangling_tool_calls_get_their_results_whatever_a_finalizer_returns(
    answer: Any, is_async: bool, provider: LocalProvider
) -> None:
    graph = agent(provider, Budget(usd="0.00001"), finalizer=lambda state: answer)
    app = graph.compile()
    history = [HumanMessage("What is a tree?"), AIMessage("", tool_calls=[CALL])]
    state = asyncio.run(app.ainvoke({"messages": history}, thread())) if is_async else None
    state = state or app.invoke({"messages": history}, thread())
    assert_accepted(provider, state["messages"])
    assert (state["messages"][-1].text == "done") == ("done" in str(answer))


def test_tool_calls_that_the_budget_cut_off_get_a_result_that_says_so(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=100))

    def asking_inside(state: Chat) -> Any:
        return {"messages": [model.invoke("This is refused.")]}

    graph: Any = BudgetedGraph(Chat, budget=Budget(model_calls=2))
    graph.add_node("agent", lambda s: {"messages": [model.bind_tools([look_up]).invoke(s["messages"])]})
    graph.add_node("tools", asking_inside)
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    state = graph.compile().invoke(QUESTION, thread())
    results = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert [result.status for result in results] == ["error", "error"]
    assert "budget" in results[0].text
    assert state["messages"][-1].text == "A short answer."
    assert_accepted(provider, state["messages"])


def test_a_failing_finalizer_call_does_not_lose_the_work() -> None:
    def failing_at_last(request: Request) -> Reply:
        return always_calling(request) if request.tools else Reply("no", status=400)

    with serving(failing_at_last) as provider:
        app = agent(provider, Budget(model_calls=3)).compile()
        state = app.invoke(QUESTION, thread())
        assert "the finalizer failed" in app.spend(thread()).landing
        assert state["messages"][-1].text.startswith("I had to stop here")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_that_has_only_thought_at_the_landing_is_no_answer(is_async: bool) -> None:
    def thinking_at_last(request: Request) -> Reply:
        return always_calling(request) if request.tools else Reply("", output_tokens=900, reasoning_tokens=900)

    with serving(thinking_at_last) as provider:
        app = agent(provider, Budget(model_calls=3)).compile()
        state = asyncio.run(app.ainvoke(QUESTION, thread())) if is_async else app.invoke(QUESTION, thread())
        assert app.spend(thread()).landing == "Landed with the partial state (the finalizer failed: an empty answer)"
        assert state["messages"][-1].text.startswith("I had to stop here")
        assert_all_kept(state["messages"], provider)
        assert app.spend(thread()).cost_nanos == provider.bill_nanos


def test_a_finalizer_may_be_a_node_of_the_graph(provider: LocalProvider) -> None:
    graph = agent(provider, Budget(model_calls=2))
    graph.add_node("summary", lambda state: {"messages": [AIMessage("A summary.")]})
    app = graph.set_finalizer("summary").compile()
    assert app.invoke(QUESTION, thread())["messages"][-1].text == "A summary."


def test_a_landed_thread_can_be_asked_again(provider: LocalProvider) -> None:
    """With a budget for each run, the next turn of the conversation has its own money and a valid history."""
    app = agent(provider, Budget(per="run", model_calls=2)).compile(checkpointer=InMemorySaver())
    for turn in (1, 2):
        state = app.invoke(QUESTION, thread())
        assert len(provider.requests) == 2 * turn
        assert state["messages"][-1].text == "A short answer."
    assert_accepted(provider, state["messages"])


# -- suspend and raise --------------------------------------------------------------------------------------------


def fan_out(provider: LocalProvider, budget: Budget, ledger: Any = None) -> Any:
    """Five siblings that ask once, and a last one that asks after them."""
    model = budgeted_model(openai_model(provider, max_tokens=10))
    graph: Any = BudgetedGraph(State, budget=budget, ledger=ledger)
    graph.add_node("work", lambda state: {"messages": [slim(model.invoke("Go on."))]})
    graph.add_node("after", lambda state: {"messages": [slim(model.invoke("The end."))]})
    graph.add_conditional_edges(START, lambda state: [Send("work", state) for _ in range(5)], ["work"])
    graph.add_edge("work", "after")
    return graph


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_suspended_run_goes_on_at_the_refused_nodes_after_a_top_up(is_async: bool, durability: Any) -> None:
    ledger = open_ledger("memory://")
    with serving(fixed("fine", output_tokens=2)) as provider:
        budget = Budget(model_calls=3, on_exhausted="suspend", max_wait=0)
        app = fan_out(provider, budget, ledger).compile(checkpointer=InMemorySaver())

        def run(given: Any) -> Any:
            if is_async:
                return asyncio.run(app.ainvoke(given, thread(), durability=durability))
            return app.invoke(given, thread(), durability=durability)

        run(BEGIN)
        assert len(provider.requests) == 3
        assert set(app.get_state(thread()).next) == {"work"}
        assert not app.spend(thread()).landing

        run(None)
        assert len(provider.requests) == 3  # nothing was topped up, nothing is sent

        ledger.credit("top-up 1", CALLS, 2, limit=3, now=0.0)
        run(None)
        assert len(provider.requests) == 5
        assert app.get_state(thread()).next == ("after",)

        ledger.credit("top-up 2", CALLS, 1, limit=3, now=0.0)
        state = run(None)
        assert len(provider.requests) == len(state["messages"]) == 6
        assert app.get_state(thread()).next == ()
        assert_all_kept(state["messages"], provider)


def test_a_suspended_run_is_resumed_by_another_process_from_the_same_files(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'spend.db'}"
    with serving(fixed("fine", output_tokens=2)) as provider:
        budget = Budget(model_calls=3, on_exhausted="suspend", max_wait=0)
        for attempt, made in ((1, 3), (2, 6)):
            with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
                ledger = open_ledger(url)  # everything is built anew, as another process would
                app = fan_out(provider, budget, ledger).compile(checkpointer=saver)
                if attempt == 2:
                    ledger.credit("top-up", CALLS, 3, limit=3, now=0.0)
                app.invoke(BEGIN if attempt == 1 else None, thread())
                assert len(provider.requests) == made
                assert (app.get_state(thread()).next == ()) == (attempt == 2)
                ledger.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_raising_comes_after_the_siblings_and_keeps_the_state(is_async: bool) -> None:
    with serving(fixed("fine", output_tokens=2)) as provider:
        budget = Budget(model_calls=3, on_exhausted="raise", max_wait=0)
        app = fan_out(provider, budget).compile(checkpointer=InMemorySaver())
        with pytest.raises(BudgetExceeded, match="model calls") as raised:
            asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
        assert (raised.value.budget, raised.value.unit, raised.value.limit) == ("session", "model_calls", 3)
        assert len(provider.requests) == 3
        app.settings.meter.ledger.credit("top-up", CALLS, 9, limit=3, now=0.0)
        state = app.invoke(None, thread())
        assert len(provider.requests) == len(state["messages"]) == 6


def test_raising_without_a_checkpointer(provider: LocalProvider) -> None:
    app = agent(provider, Budget(model_calls=1, on_exhausted="raise")).compile()
    with pytest.raises(BudgetExceeded):
        list(app.stream(QUESTION, thread(), stream_mode=["values", "messages"]))
    assert len(provider.requests) == 1


# -- groups of tasks ----------------------------------------------------------------------------------------------


def grouped(provider: LocalProvider, way: Any, *, fails: bool = False) -> Any:
    """A node that asks four times at once, in a group of tasks, where three calls are allowed."""
    model = budgeted_model(openai_model(provider))

    async def ask() -> AIMessage:
        try:
            return slim(await model.ainvoke("Who?"))
        except asyncio.CancelledError:
            if fails:
                raise ValueError("a clean-up that fails") from None
            raise

    async def node(state: State) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()) for _ in range(4)]
        return {"messages": [task.result() for task in tasks]}

    graph: Any = BudgetedGraph(State, budget=Budget(model_calls=3, on_exhausted=way, max_wait=0, landing_reserve=0))
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=InMemorySaver())


def test_a_refusal_in_a_group_of_tasks_lands(provider: LocalProvider) -> None:
    app = grouped(provider, "land")
    state = asyncio.run(app.ainvoke(BEGIN, thread()))
    assert "the budget for this task is spent" in state["messages"][-1].text
    assert app.spend(thread()).landing


def test_a_refusal_in_a_group_of_tasks_suspends_until_a_top_up(provider: LocalProvider) -> None:
    app = grouped(provider, "suspend")
    asyncio.run(app.ainvoke(BEGIN, thread()))
    assert app.get_state(thread()).next == ("node",)
    app.top_up(thread(), model_calls=9, by="ada")
    assert len(asyncio.run(app.ainvoke(None, thread()))["messages"]) == 4


def test_a_refusal_in_a_group_of_tasks_is_raised_by_itself(provider: LocalProvider) -> None:
    with pytest.raises(BudgetExceeded, match="model calls"):
        asyncio.run(grouped(provider, "raise").ainvoke(BEGIN, thread()))


def test_an_error_beside_a_refusal_in_a_group_of_tasks_is_not_hidden(provider: LocalProvider) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(grouped(provider, "land", fails=True).ainvoke(BEGIN, thread()))
    assert raised.group_contains(ValueError)
    assert raised.group_contains(BudgetExceeded)


def of_a_list(state: Any, provider: LocalProvider, is_plain: bool = False, **settings: Any) -> Any:
    """A graph whose state is its history, and whose model never stops calling a tool."""
    model = openai_model(provider, max_tokens=100)
    bound = (model if is_plain else budgeted_model(model)).bind_tools([look_up])
    graph: Any = BudgetedGraph(state, budget=settings.pop("budget", Budget(model_calls=3)))
    whole = not get_origin(state)
    graph.add_node("agent", lambda history: [*(history if whole else []), bound.invoke(history)])
    graph.add_node("tools", lambda history: [*(history if whole else []), *ToolNode([look_up]).invoke(history)])
    graph.add_edge(START, "agent")
    graph.add_edge("agent", "tools")
    graph.add_edge("tools", "agent")
    return graph.set_finalizer(settings["finalizer"]) if settings else graph


@pytest.mark.parametrize("state", [Annotated[list, add_messages], list])
@pytest.mark.parametrize("is_plain", [False, True])
def test_a_state_that_is_nothing_but_the_history_lands_as_well(
    state: Any, is_plain: bool, provider: LocalProvider
) -> None:
    app = of_a_list(state, provider, is_plain).compile()
    history = app.invoke([HumanMessage("What is a tree?")], thread())
    assert_accepted(provider, history)
    assert len(history) == 8
    assert history[-1].text.startswith("I had to stop here") if is_plain else history[-1].text == "A short answer."


@pytest.mark.parametrize("answer", [None, [AIMessage("done")], AIMessage("done"), Command(goto=END)], ids=str)
def test_a_finalizer_of_such_a_state_may_return_what_any_node_may(answer: Any, provider: LocalProvider) -> None:
    graph = of_a_list(Annotated[list, add_messages], provider, finalizer=lambda history: answer)
    history = graph.compile().invoke([HumanMessage("What is a tree?")], thread())
    assert [each.text for each in history[7:]] == (["done"] if isinstance(answer, list | AIMessage) else [])


@pytest.mark.parametrize("state", [Annotated[list, add_messages], list])
@pytest.mark.parametrize("answer", [None, [AIMessage("done")], Command(goto=END)], ids=str)
def test_dangling_tool_calls_of_such_a_state_get_their_results(
    state: Any, answer: Any, provider: LocalProvider
) -> None:
    """Where an update replaces the history, a finalizer that returns one has seen the results."""
    graph = of_a_list(state, provider, finalizer=lambda history: answer, budget=Budget(usd="0.00001"))
    asked = AIMessage("", tool_calls=[CALL])
    history = graph.compile().invoke([HumanMessage("What is a tree?"), asked], thread())
    replaced = state is list and isinstance(answer, list)
    kept = [] if replaced else ["human", "ai", "tool"]
    assert [each.type for each in history] == [*kept, *(["ai"] if isinstance(answer, list) else [])]


def test_a_list_of_anything_else_gets_no_message(provider: LocalProvider) -> None:
    model = openai_model(provider, max_tokens=100)
    state: Any = Annotated[list, operator.add]
    graph: Any = BudgetedGraph(state, budget=Budget(model_calls=2))
    graph.add_node("write", lambda words: [model.invoke("Go on.").text])
    graph.add_edge(START, "write")
    graph.add_edge("write", "write")
    assert graph.compile().invoke(["one"], thread()) == ["one", "A short answer."]


@pytest.mark.parametrize("other", ["land", "suspend"])
@pytest.mark.parametrize("first", ["raises", "other"])
def test_of_two_refusals_in_one_step_the_one_that_is_to_raise_does(
    other: Any, first: str, provider: LocalProvider
) -> None:
    """Whichever comes first."""
    refused = threading.Event()
    model = openai_model(provider, max_tokens=100)

    def budget(name: str, way: Any) -> Budget:
        return Budget(name=name, model_calls=1, where={"node": (name,)}, on_exhausted=way, landing_reserve=0)

    def node(name: str) -> Any:
        def work(state: Any) -> Any:
            if name != first:
                assert refused.wait(60)
            return {"messages": [model.invoke("Go on."), model.invoke("Go on.")]}

        return work

    def listen(event: BudgetEvent) -> None:
        if event.kind == "refusal":
            refused.set()

    budgets = [budget("other", other), budget("raises", "raise")]
    graph: Any = BudgetedGraph(Chat, budget=budgets, listeners=(listen,))
    for name in ("raises", "other"):
        graph.add_node(name, node(name))
        graph.add_edge(START, name)
    app = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(BudgetExceeded, match="Budget 'raises'"):
        app.invoke(QUESTION, thread())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_landing_that_waits_for_a_person_beside_it_still_answers(is_async: bool, provider: LocalProvider) -> None:
    """It comes to its end in another invocation, which was refused nothing and has called no model."""
    model = budgeted_model(openai_model(provider, max_tokens=100))
    graph: Any = BudgetedGraph(Chat, budget=Budget(model_calls=3))
    graph.add_node(
        "work", lambda state: {"messages": [model.invoke("First."), model.invoke("Second."), model.invoke("Third.")]}
    )
    graph.add_node("ask", lambda state: {"messages": [HumanMessage(interrupt("Sure?"))]})
    for name in ("work", "ask"):
        graph.add_edge(START, name)
    app = graph.compile(checkpointer=InMemorySaver())

    def run(value: Any) -> Any:
        return asyncio.run(app.ainvoke(value, thread())) if is_async else app.invoke(value, thread())

    run(QUESTION)
    assert app.get_state(thread()).next == ("ask",)
    last = run(Command(resume="Yes."))["messages"][-1]
    assert last.text == "A short answer."
    assert len(last.additional_kwargs["unfinished"]) == 2
    assert app.spend(thread()).landing == "Landed by the default finalizer"
