"""Every shape a graph can have, under a budget that runs out in the midst of it."""

from __future__ import annotations

import asyncio
import dataclasses
import operator
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import CachePolicy, Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel

from budgeted_agents import Budget, BudgetedGraph, BudgetExceeded, budgeted_model, open_ledger
from budgeted_agents.ledgers.contract import Account
from budgeted_agents.testing import LocalProvider, Reply, ToolCall, fixed
from tests.langgraph.support import State, openai_model, serving, slim, thread

BEGIN = {"messages": [], "visits": 0}


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed("fine", output_tokens=2)) as running:
        yield running


def asking(provider: LocalProvider) -> Any:
    """A node that asks a model once."""
    model = budgeted_model(openai_model(provider, max_tokens=10))
    return lambda state: {"messages": [slim(model.invoke("Go on."))]}


def calls(number: int, **settings: Any) -> Budget:
    """A budget for so many calls, and none kept for a landing."""
    return Budget(model_calls=number, landing_reserve=0, **settings)


def chain(graph: Any, **nodes: Any) -> Any:
    """The nodes one after the other."""
    for name, node in nodes.items():
        graph.add_node(name, node)
    for before, after in zip([START, *nodes], nodes, strict=False):
        graph.add_edge(before, after)
    return graph


def texts(state: Any) -> list[str]:
    return [message.text for message in state["messages"]]


# -- subgraphs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_a_plain_subgraph_is_governed_by_the_graph_around_it(is_async: bool, provider: LocalProvider) -> None:
    ask = asking(provider)
    inner = chain(StateGraph(State), a=ask, b=ask).compile()
    app = chain(BudgetedGraph(State, budget=calls(3)), first=ask, second=inner, third=ask).compile()
    state = asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
    assert len(provider.requests) == 3
    assert app.spend(thread()).landing
    assert texts(state)[-1].startswith("I had to stop here because the budget")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_refused_plain_subgraph_keeps_what_it_has_and_leads_nowhere(
    is_async: bool, depth: int, provider: LocalProvider
) -> None:
    """The graphs are entered again and again; only the budget ends that."""
    ask, visited = asking(provider), []
    inner: Any = chain(StateGraph(MessagesState), a=ask, b=ask).compile()
    for _ in range(1, depth):
        inner = chain(StateGraph(MessagesState), inside=inner).compile()
    graph = chain(BudgetedGraph(MessagesState, budget=calls(5)), inside=inner)
    graph.add_node("other", lambda state: visited.append(len(state["messages"])))
    graph.add_edge("inside", "other")
    graph.add_conditional_edges("inside", lambda state: "inside")
    app = graph.compile()
    state = asyncio.run(app.ainvoke({"messages": []}, thread())) if is_async else app.invoke({"messages": []}, thread())
    assert texts(state)[:5] == ["fine"] * 5
    assert len(texts(state)) == 6
    assert len(provider.requests) == 5
    assert visited == [2, 4]
    assert app.spend(thread()).landing


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_fan_out_inside_a_plain_subgraph_has_paid_for_is_kept(is_async: bool, provider: LocalProvider) -> None:
    inner: Any = StateGraph(State)
    inner.add_node("ask", asking(provider))
    inner.add_conditional_edges(START, lambda state: [Send("ask", state) for _ in range(10)])
    app = chain(BudgetedGraph(State, budget=Budget(model_calls=7, max_wait=0)), inside=inner.compile()).compile()
    state = asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
    assert texts(state) == ["fine"] * 7
    assert app.spend(thread()).landing == "Landed by the default finalizer"


def test_an_agent_inside_keeps_what_it_has_paid_for(provider: LocalProvider) -> None:
    from langchain.agents import create_agent

    @tool
    def look_up(word: str) -> str:
        """Looks a word up."""
        return word

    with serving(lambda request: Reply("", [ToolCall("look_up", {"word": "x"}, id=f"c{request.number}")])) as server:
        agent = create_agent(openai_model(server, max_tokens=10), [look_up])
        graph: Any = BudgetedGraph(MessagesState, budget=calls(3))
        app = chain(graph, agent=agent).compile(checkpointer=InMemorySaver())
        state = app.invoke({"messages": [HumanMessage("Go on.")]}, thread())
        kinds = [message.type for message in state["messages"]]
        assert kinds == ["human", *["ai", "tool"] * 3, "ai"]
        assert len(server.requests) == 3
        assert app.get_state(thread()).values == state


@pytest.mark.parametrize("way", ["suspend", "raise"])
def test_a_plain_subgraph_stops_at_the_refused_node_if_its_budget_says_so(way: Any, provider: LocalProvider) -> None:
    ask = asking(provider)
    inner = chain(StateGraph(State), a=ask, b=ask, c=ask).compile()
    graph = chain(BudgetedGraph(State, budget=calls(2, on_exhausted=way)), inside=inner)
    app = graph.compile(checkpointer=InMemorySaver())
    if way == "raise":
        with pytest.raises(BudgetExceeded):
            app.invoke(BEGIN, thread())
    else:
        app.invoke(BEGIN, thread())
    app.top_up(thread(), model_calls=5, by="ada")
    assert texts(app.invoke(None, thread())) == ["fine"] * 3
    assert len(provider.requests) == 3


@pytest.mark.parametrize(("inner_calls", "outer_calls", "made"), [(2, 10, 2 + 2), (10, 3, 3), (4, 4, 4)])
def test_a_budgeted_graph_inside_another_holds_both_caps(
    inner_calls: int, outer_calls: int, made: int, provider: LocalProvider
) -> None:
    ask = asking(provider)
    ledger = open_ledger("memory://")
    inner = chain(
        BudgetedGraph(State, budget=calls(inner_calls, name="inner"), ledger=ledger), a=ask, b=ask, c=ask
    ).compile()
    outer = BudgetedGraph(State, budget=calls(outer_calls, name="outer"), ledger=ledger)
    app = chain(outer, first=ask, second=inner, third=ask).compile()
    app.invoke(BEGIN, thread())
    assert len(provider.requests) == made
    spent = {balance.account.budget: balance.spent for balance in app.spend(thread()).balances}
    assert spent == {"inner": min(inner_calls, made - 1, 3), "outer": made}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("goes_on", [False, True])
def test_where_an_outer_budget_is_spent_inside_the_outer_graph_lands_on_its_reserve(
    is_async: bool, depth: int, goes_on: bool, provider: LocalProvider
) -> None:
    """The graphs inside end with what they have: nothing that was paid for is lost, and nothing is said twice."""
    ask = asking(provider)
    inner: Any = chain(BudgetedGraph(State, budget=calls(9, name="inner")), a=ask, b=ask, c=ask).compile()
    for level in range(1, depth):
        inner = chain(BudgetedGraph(State, budget=calls(9, name=f"level {level}")), inside=inner).compile()
    after = {"after": ask} if goes_on else {}
    app = chain(BudgetedGraph(State, budget=Budget(model_calls=3)), inside=inner, **after).compile()
    state = asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
    assert texts(state) == ["fine", "fine", "fine"]
    assert len(provider.requests) == 3
    assert app.spend(thread()).landing == "Landed by the default finalizer"


@pytest.mark.parametrize("way", ["land", "suspend", "raise"])
def test_what_an_inner_graph_does_when_its_own_budget_is_spent_is_its_own_to_say(
    way: Any, provider: LocalProvider
) -> None:
    """Both budgets have the same name, as budgets without one have."""
    ask = asking(provider)
    inner = chain(BudgetedGraph(State, budget=calls(1, on_exhausted=way)), a=ask, b=ask).compile()
    app = chain(BudgetedGraph(State, budget=calls(10)), first=inner, second=ask).compile(checkpointer=InMemorySaver())
    if way == "raise":
        with pytest.raises(BudgetExceeded):
            app.invoke(BEGIN, thread())
        assert len(provider.requests) == 1
        return
    app.invoke(BEGIN, thread())
    assert len(provider.requests) == (2 if way == "land" else 1)
    assert app.get_state(thread()).next == (() if way == "land" else ("first",))


def test_an_inner_finalizer_spends_its_own_landing_reserve_and_not_the_outer_one(provider: LocalProvider) -> None:
    """Both budgets have the same name, as budgets without one have."""
    ask = asking(provider)
    inner = chain(BudgetedGraph(State, budget=Budget(model_calls=2)), a=ask, b=ask).compile()
    app = chain(BudgetedGraph(State, budget=Budget(model_calls=3)), first=inner, second=ask).compile()
    app.invoke(BEGIN, thread())
    landings = [
        note.body["message"] for note in app.settings.meter.ledger.notes("t1") if note.body["kind"] == "landing"
    ]
    assert landings == ["Landed by the default finalizer", "Landed by the default finalizer"]
    assert len(provider.requests) == 3


def test_a_graph_inside_a_tool_with_a_thread_of_its_own_is_still_governed(provider: LocalProvider) -> None:
    ask = asking(provider)
    inner = chain(StateGraph(State), a=ask, b=ask).compile(checkpointer=InMemorySaver())
    nested = {"messages": [], "visits": 0}
    app = chain(
        BudgetedGraph(State, budget=calls(3)),
        first=lambda state: inner.invoke(nested, thread("another")),
        second=lambda state: inner.invoke(nested, thread("a third")),
        third=ask,
    ).compile()
    state = app.invoke(BEGIN, thread())
    assert len(provider.requests) == 3
    assert app.spend(thread()).landing
    assert app.spend(thread()).cost_nanos == provider.bill_nanos
    assert texts(state)[:3] == ["fine", "fine", "fine"]  # the second ended with what it had, as it would by itself


# -- edges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_start", [False, True])
@pytest.mark.parametrize("governed", [False, True])
def test_a_router_that_asks_a_model_is_governed(from_start: bool, governed: bool, provider: LocalProvider) -> None:
    plain = openai_model(provider, max_tokens=10)
    model: Any = budgeted_model(plain) if governed else plain

    def route(state: State) -> str:
        return "node" if model.invoke("Where to?").text else END

    graph: Any = BudgetedGraph(State, budget=calls(2))
    graph.add_node("node", lambda state: {"visits": state["visits"] + 1})
    graph.add_conditional_edges(START if from_start else "node", route, ["node", END])
    graph.add_edge("node", "node") if from_start else graph.add_edge(START, "node")
    app = graph.compile()
    if from_start:
        for _ in range(2):
            with pytest.raises(Exception, match="Recursion limit"):
                app.invoke(BEGIN, {**thread(), "recursion_limit": 3})
    state = app.invoke(BEGIN, thread())
    assert len(provider.requests) == 2
    assert app.spend(thread()).refusals
    assert (state or BEGIN)["visits"] == (0 if from_start else 3)


def test_a_waiting_edge_never_fires_when_one_of_its_sources_was_refused(provider: LocalProvider) -> None:
    ask = asking(provider)
    graph: Any = BudgetedGraph(State, budget=calls(1))
    graph.add_node("x", ask)
    graph.add_node("y", lambda state: {**ask(state), **ask(state)})
    graph.add_node("join", lambda state: {"visits": 99})
    graph.add_edge(START, "x")
    graph.add_edge(START, "y")
    graph.add_edge(["x", "y"], "join")
    app = graph.compile()
    state = app.invoke(BEGIN, thread())
    assert len(provider.requests) == 1
    assert state["visits"] == 0
    assert app.spend(thread()).landing


def test_the_finalizer_runs_once_and_after_deferred_nodes_of_the_users_own(provider: LocalProvider) -> None:
    ask, order = asking(provider), []
    graph: Any = BudgetedGraph(State, budget=calls(3))
    graph.add_node("work", ask)
    graph.add_node("slow", lambda state: order.append("slow"))
    graph.add_node("slower", lambda state: order.append("slower"))
    graph.add_node("gather", lambda state: order.append("gather"), defer=True)
    graph.add_conditional_edges(START, lambda state: ["slow", *[Send("work", state) for _ in range(6)]])
    graph.add_edge("slow", "slower")
    graph.add_edge("work", "gather")
    graph.set_finalizer(lambda state: order.append("finalizer"))
    app = graph.compile()
    state = app.invoke(BEGIN, thread())
    assert order == ["slow", "slower", "gather", "finalizer"]
    assert len(provider.requests) == len(texts(state)) == 3


# -- retries, caches, interrupts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_a_refusal_is_not_retried_and_attempts_are_each_paid_for(is_async: bool, provider: LocalProvider) -> None:
    model, attempts = budgeted_model(openai_model(provider, max_tokens=10)), []

    def flaky(state: State) -> Any:
        attempts.append(model.invoke("Go on."))
        raise ConnectionError("after the call")

    graph: Any = BudgetedGraph(State, budget=calls(2))
    policy = RetryPolicy(max_attempts=10, initial_interval=0.001, jitter=False, retry_on=Exception)
    graph.add_node("flaky", flaky, retry_policy=policy)
    graph.add_edge(START, "flaky")
    app = graph.compile()
    asyncio.run(app.ainvoke(BEGIN, thread())) if is_async else app.invoke(BEGIN, thread())
    assert len(attempts) == len(provider.requests) == 2
    assert len(app.spend(thread()).refusals) == 1


def test_a_refusal_is_not_cached_so_that_a_top_up_brings_the_node_back(provider: LocalProvider) -> None:
    ask, ledger = asking(provider), open_ledger("memory://")
    graph: Any = BudgetedGraph(State, budget=calls(1), ledger=ledger)
    graph.add_node("a", ask)
    graph.add_node("b", ask, cache_policy=CachePolicy(key_func=lambda state: b"b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    app = graph.compile(cache=InMemoryCache())
    app.invoke(BEGIN, thread())
    account = Account("session", (("session", "t1"),), unit="model_calls")
    ledger.credit("top-up", account, 3, limit=1, now=0.0)
    for made in (3, 4):  # the second time, b comes out of the cache
        state = app.invoke(BEGIN, thread())
        assert texts(state) == ["fine", "fine"]
        assert len(provider.requests) == made


def test_interrupts_of_the_user_stop_and_resume_as_ever(provider: LocalProvider) -> None:
    ask = asking(provider)

    def approve(state: State) -> Any:
        return {"messages": [HumanMessage(interrupt("May I?"))]}

    app = chain(BudgetedGraph(State, budget=calls(2)), a=ask, b=approve, c=ask, d=ask).compile(
        checkpointer=InMemorySaver()
    )
    stopped = app.invoke(BEGIN, thread())
    assert [question.value for question in stopped["__interrupt__"]] == ["May I?"]
    assert not app.spend(thread()).landing
    state = app.invoke(Command(resume="yes"), thread())
    assert texts(state)[:3] == ["fine", "yes", "fine"]
    assert len(provider.requests) == 2
    assert app.spend(thread()).landing


def test_a_breakpoint_is_no_refusal(provider: LocalProvider) -> None:
    ask = asking(provider)
    inner = chain(StateGraph(State), a=ask, b=ask).compile(interrupt_before=["b"])
    app = chain(BudgetedGraph(State, budget=calls(2)), a=inner).compile(checkpointer=InMemorySaver())
    app.invoke(BEGIN, thread())
    assert app.get_state(thread()).next == ("a",)
    app.invoke(None, thread())
    assert app.get_state(thread()).next == ()
    assert not app.spend(thread()).landing
    assert len(provider.requests) == 2


def test_a_question_beside_a_refusal_keeps_both(provider: LocalProvider) -> None:
    """One branch asks a person while its sibling is refused: the question stands, and the run lands once answered."""
    ask = asking(provider)
    graph: Any = BudgetedGraph(State, budget=calls(1))
    graph.add_node("first", ask)
    graph.add_node("person", lambda state: {"messages": [HumanMessage(interrupt("May I?"))]})
    graph.add_node("model", ask)
    graph.add_edge(START, "first")
    graph.add_edge("first", "person")
    graph.add_edge("first", "model")
    app = graph.compile(checkpointer=InMemorySaver())
    stopped = app.invoke(BEGIN, thread())
    assert [question.value for question in stopped["__interrupt__"]] == ["May I?"]
    state = app.invoke(Command(resume="yes"), thread())
    assert "yes" in texts(state)
    assert len(provider.requests) == 1
    assert app.get_state(thread()).next == ()
    assert app.spend(thread()).landing


# -- states -------------------------------------------------------------------------------------------------------


class PydanticState(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = []
    topic: str = "trees"


@dataclasses.dataclass
class DataclassState:
    messages: Annotated[list[AnyMessage], add_messages] = dataclasses.field(default_factory=list)
    topic: str = "trees"


@pytest.mark.parametrize("schema", [PydanticState, DataclassState])
@pytest.mark.parametrize("own", [False, True])
def test_states_of_any_kind_land(schema: Any, own: bool, provider: LocalProvider) -> None:
    model, seen = budgeted_model(openai_model(provider, max_tokens=10)), []

    def land(state: Any) -> Any:
        seen.append(type(state))
        return {"topic": "landed"}

    graph: Any = BudgetedGraph(schema, budget=Budget(model_calls=3))
    graph.add_node("work", lambda state: {"messages": [model.invoke(state.messages)]})
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    if own:
        graph.set_finalizer(land)
    app = graph.compile()
    state = app.invoke({"messages": [HumanMessage("Go on.")]}, thread())
    assert len(state["messages"]) == 1 + (2 if own else 3)
    assert len(provider.requests) == (2 if own else 3)
    assert seen == ([schema] if own else [])
    assert state.get("topic", "trees") == ("landed" if own else "trees")


class Replacing(BaseModel):
    messages: list[AnyMessage] = []


def test_a_history_without_a_reducer_is_appended_to_and_not_replaced(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=10))
    graph: Any = BudgetedGraph(Replacing, budget=Budget(model_calls=3))
    graph.add_node("work", lambda state: {"messages": [*state.messages, model.invoke(state.messages)]})
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    state = graph.compile().invoke({"messages": [HumanMessage("Go on.")]}, thread())
    assert len(state["messages"]) == 1 + 3


def test_a_state_without_messages_lands_as_it_is(provider: LocalProvider) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=10))

    class Notes(BaseModel):
        notes: Annotated[list[str], operator.add] = []

    graph: Any = BudgetedGraph(Notes, budget=calls(2))
    graph.add_node("work", lambda state: {"notes": [model.invoke("Go on.").text]})
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    app = graph.compile()
    assert app.invoke({"notes": []}, thread()) == {"notes": ["fine", "fine"]}
    assert app.spend(thread()).landing == "Landed with the partial state"


def test_private_inputs_and_outputs_stay_private(provider: LocalProvider) -> None:
    class Asked(BaseModel):
        topic: str = ""

    ask = asking(provider)
    graph: Any = BudgetedGraph(PydanticState, budget=calls(1), input_schema=Asked, output_schema=Asked)
    graph.add_node("work", ask)
    graph.add_edge(START, "work")
    graph.add_edge("work", "work")
    assert graph.compile().invoke({"topic": "owls"}, thread()) == {"topic": "owls"}
