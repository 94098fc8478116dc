"""A refusal in the midst of a node: what it had paid for by then is not lost, and only its own edges stay shut."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import CachePolicy
from pydantic import BaseModel

from budgeted_agents import Budget, BudgetedGraph, budgeted_model, open_ledger
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.langgraph.support import assert_exact, openai_model, serving, thread

QUESTION: Any = {"messages": [HumanMessage("Write about trees.", id="question")]}


def numbered(request: Request) -> Reply:
    """Answers that can be told apart."""
    return Reply(f"answer {request.number}")


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(numbered) as running:
        yield running


def governed(provider: LocalProvider) -> Any:
    return budgeted_model(openai_model(provider, max_tokens=100))


def invoke(app: Any, is_async: bool, state: Any = QUESTION) -> Any:
    return asyncio.run(app.ainvoke(state, thread())) if is_async else app.invoke(state, thread())


def in_one_node(function: Any, budget: Budget, **keywords: Any) -> Any:
    graph: Any = BudgetedGraph(MessagesState, budget=budget)
    graph.add_node("work", function)
    graph.add_edge(START, "work")
    if "finalizer" in keywords:
        graph.set_finalizer(keywords["finalizer"])
    return graph.compile()


def writing(model: Any) -> Any:
    """A node that asks three times, and gives only the last answer."""

    def work(state: Any) -> Any:
        outline = model.invoke("Outline it.").text
        draft = model.invoke(f"Write it by this: {outline}").text
        return {"messages": [model.invoke(f"Polish this: {draft}")]}

    return work


def asked_last(provider: LocalProvider) -> list[str]:
    return [message.text for message in provider.requests[-1].request.messages]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_landing_answers_from_what_a_refused_node_had_paid_for(is_async: bool, provider: LocalProvider) -> None:
    model = governed(provider)

    async def work(state: Any) -> Any:
        answers = [(await model.ainvoke(f"Part {number}.")).text for number in range(3)]
        return {"messages": [AIMessage("".join(answers))]}

    app = in_one_node(work if is_async else writing(model), Budget(model_calls=3))
    state = invoke(app, is_async)
    assert len(provider.requests) == 3
    told = asked_last(provider)
    assert told[:3] == [
        "Write about trees.",
        "From a step that was not finished: answer 1",
        "From a step that was not finished: answer 2",
    ]
    assert [message.text for message in state["messages"]] == ["Write about trees.", "answer 3"]
    assert state["messages"][-1].additional_kwargs["unfinished"] == ["answer 1", "answer 2"]
    assert_exact(app.spend(thread()), provider)


def test_where_no_model_can_be_called_the_last_sentence_says_what_was_paid_for(provider: LocalProvider) -> None:
    app = in_one_node(writing(openai_model(provider, max_tokens=20)), Budget(model_calls=3))
    last = invoke(app, False)["messages"][-1].text
    assert last.startswith("I had to stop here because the budget")
    assert last.endswith("From a step that was not finished:\n\nanswer 1\n\nanswer 2")


def test_a_finalizer_of_the_users_own_is_handed_it_too(provider: LocalProvider) -> None:
    handed: list[Any] = []

    def wrap_up(state: Any) -> Any:
        handed.extend(message.text for message in state["messages"])
        return {"messages": [AIMessage("Wrapped up.")]}

    state = invoke(in_one_node(writing(governed(provider)), Budget(model_calls=3), finalizer=wrap_up), False)
    assert handed[1:] == [f"From a step that was not finished: answer {number}" for number in (1, 2)]
    assert [message.text for message in state["messages"]] == ["Write about trees.", "Wrapped up."]


def test_the_question_is_kept_where_the_landing_has_to_cut_what_there_is() -> None:
    """Not all of the long answers fit beside it."""

    def reply(request: Request) -> Reply:
        return Reply("word " * 2_000 if request.messages[-1].text == "Go on." else "The answer.")

    with serving(reply) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=3_000))

        def work(state: Any) -> Any:
            return {"messages": [model.invoke("Go on.") for _ in range(9)]}

        app = in_one_node(work, Budget(usd="0.072", landing_reserve=0.1))
        assert invoke(app, False)["messages"][-1].text == "The answer."
        told = asked_last(provider)
        assert told[0] == "Write about trees."
        assert 2 < len(told) < len(provider.requests) + 1
        assert_exact(app.spend(thread()), provider)


def test_a_state_without_messages_gets_none(provider: LocalProvider) -> None:
    class Draft(TypedDict):
        draft: str

    handed: list[Any] = []
    model = governed(provider)
    graph: Any = BudgetedGraph(Draft, budget=Budget(model_calls=3))
    graph.add_node("work", lambda state: {"draft": "".join(model.invoke("Go on.").text for _ in range(3))})
    graph.add_edge(START, "work")
    assert graph.compile().invoke({"draft": ""}) == {"draft": ""}

    def wrap_up(state: Any) -> Any:
        handed.append(state["messages"])
        return {"draft": "so far"}

    graph.set_finalizer(wrap_up)
    assert graph.compile().invoke({"draft": ""}) == {"draft": "so far"}
    assert len(handed[0]) == 2


def test_an_answer_in_a_structure_counts_as_what_it_says() -> None:
    class Grade(BaseModel):
        """A grade."""

        score: int

    def reply(request: Request) -> Reply:
        calls = [ToolCall("Grade", {"score": request.number}, id=f"call_{request.number}")]
        return Reply("", calls) if request.tools else Reply("The answer.")

    with serving(reply) as provider:
        grader = governed(provider).with_structured_output(Grade, method="function_calling")
        app = in_one_node(lambda state: [grader.invoke(f"Grade {n}.") for n in range(4)], Budget(model_calls=3))
        answer = invoke(app, False)["messages"][-1]
        assert answer.additional_kwargs["unfinished"] == ['Grade({"score": 1})', 'Grade({"score": 2})']


@pytest.mark.parametrize("is_governed", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_graph_that_a_function_calls_is_not_lost(is_governed: bool, is_async: bool, provider: LocalProvider) -> None:
    """Whether that graph is refused itself, or it has ended and the function is refused behind it."""
    model, ledger = governed(provider), open_ledger("memory://")
    inner: Any = BudgetedGraph(MessagesState, budget=Budget(name="inner", model_calls=9), ledger=ledger)
    inner = inner if is_governed else StateGraph(MessagesState)
    for name in ("first", "second"):
        inner.add_node(name, lambda state: {"messages": [model.invoke("Go on.")]})
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")
    called = inner.compile()

    def work(state: Any) -> Any:
        found = [called.invoke(QUESTION)["messages"][1:] for _ in range(2)]
        return {"messages": [message for part in found for message in part]}

    async def awork(state: Any) -> Any:
        found = [(await called.ainvoke(QUESTION))["messages"][1:] for _ in range(2)]
        return {"messages": [message for part in found for message in part]}

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=4), ledger=ledger)
    graph.add_node("work", awork if is_async else work)
    graph.add_edge(START, "work")
    app = graph.compile()
    state = invoke(app, is_async)
    last = state["messages"][-1]
    kept = [*[m.text for m in state["messages"][1:-1]], *last.additional_kwargs.get("unfinished", [])]
    assert kept == ["answer 1", "answer 2", "answer 3"]
    assert last.text == "answer 4"
    assert_exact(app.spend(thread()), provider)


def test_a_graph_inside_that_has_landed_is_not_lost_when_the_function_around_it_is_refused(
    provider: LocalProvider,
) -> None:
    """The landing of the graph inside says what it had; but the function that would have passed that on is refused."""
    model, ledger = governed(provider), open_ledger("memory://")
    inner: Any = BudgetedGraph(MessagesState, budget=Budget(name="inner", model_calls=3), ledger=ledger)
    inner.add_node("write", writing(model))
    inner.add_edge(START, "write")
    called = inner.compile()

    def work(state: Any) -> Any:
        return {"messages": [*called.invoke(QUESTION)["messages"], *(model.invoke("Go on.") for _ in range(9))]}

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=5), ledger=ledger)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    app = graph.compile()
    last = invoke(app, False)["messages"][-1]
    assert last.additional_kwargs["unfinished"] == [f"answer {number}" for number in (1, 2, 3, 4)]
    assert last.text == "answer 5"
    assert_exact(app.spend(thread()), provider)


def test_calls_beside_the_refused_one_count_when_they_have_ended(provider: LocalProvider) -> None:
    """The first of three parallel calls to be refused ends the node at once; the others still go on."""
    model, ended = governed(provider), asyncio.Event()

    async def ask(number: int) -> Any:
        answer = await model.ainvoke(f"Part {number}.")
        ended.set()
        return answer

    async def work(state: Any) -> Any:
        return {"messages": await asyncio.gather(*(ask(number) for number in range(3)))}

    async def wrap_up(state: Any) -> Any:
        await asyncio.wait_for(ended.wait(), timeout=30)
        return {"messages": [AIMessage(f"{len(state['messages'])}")]}

    async def beside(state: Any) -> None:
        await asyncio.wait_for(ended.wait(), timeout=30)

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=2, max_wait=0))
    for name, node in (("work", work), ("beside", beside)):
        graph.add_node(name, node)
        graph.add_edge(START, name)
    graph.set_finalizer(wrap_up)
    state = invoke(graph.compile(), True)
    assert state["messages"][-1].text == "2"  # the question, and the one answer there was


def test_what_a_node_has_contributed_is_not_said_twice(provider: LocalProvider) -> None:
    """The node has given its answer; it is the edge behind it that asks a model and is refused."""
    model = governed(provider)
    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=2))
    graph.add_node("work", lambda state: {"messages": [model.invoke("Go on.")]})
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: model.invoke("Where to?") and "work", ["work"])
    state = invoke(graph.compile(), False)
    assert [message.text for message in state["messages"]] == ["Write about trees.", "answer 1", "answer 2"]
    assert "unfinished" not in state["messages"][-1].additional_kwargs


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_tools_that_were_paid_for_keep_their_results_when_one_beside_them_is_refused(
    is_async: bool, inside: bool
) -> None:
    """An agent whose tools ask a model each; one of four calls still fits."""

    def reply(request: Request) -> Reply:
        calls = [ToolCall("ask", {"word": f"w{n}"}, id=f"call_{request.number}_{n}") for n in range(4)]
        return Reply("", calls) if request.tools else Reply("A tree is a plant.")

    with serving(reply) as provider:
        model = governed(provider)

        @tool
        def ask(word: str) -> str:
            """Asks a model."""
            return str(model.invoke(word).text)

        @tool("ask")
        async def aask(word: str) -> str:
            """Asks a model."""
            return str((await model.ainvoke(word)).text)

        tools = [aask if is_async else ask]
        bound = model.bind_tools(tools)

        async def athink(state: Any) -> Any:
            return {"messages": [await bound.ainvoke(state["messages"])]}

        def think(state: Any) -> Any:
            return {"messages": [bound.invoke(state["messages"])]}

        graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=8))
        agent: Any = StateGraph(MessagesState) if inside else graph
        agent.add_node("agent", athink if is_async else think)
        agent.add_node("tools", ToolNode(tools))
        agent.add_edge(START, "agent")
        agent.add_conditional_edges("agent", tools_condition)
        agent.add_edge("tools", "agent")
        if inside:
            graph.add_node("inside", agent.compile())
            graph.add_edge(START, "inside")
        app = graph.compile(checkpointer=InMemorySaver())
        state = invoke(app, is_async)
        results = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        assert [message.status for message in results].count("success") == 4 + 1
        assert [message.status for message in results].count("error") == 3
        assert all("had to stop" in message.text for message in results if message.status == "error")
        assert state["messages"][-1].text == "A tree is a plant."
        assert len(provider.requests) == 8
        assert app.get_state(thread()).next == ()
        assert_exact(app.spend(thread()), provider)


def test_what_a_refused_tool_had_paid_for_is_not_lost() -> None:
    def reply(request: Request) -> Reply:
        return Reply("", [ToolCall("ask", {"word": "tree"}, id="call_1")]) if request.tools else numbered(request)

    with serving(reply) as provider:
        model = governed(provider)

        @tool
        def ask(word: str) -> str:
            """Asks a model, twice."""
            return str(model.invoke(word).text + model.invoke(word).text)

        bound = model.bind_tools([ask])
        graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=3))
        graph.add_node("agent", lambda state: {"messages": [bound.invoke(state["messages"])]})
        graph.add_node("tools", ToolNode([ask]))
        graph.add_edge(START, "agent")
        graph.add_edge("agent", "tools")
        *_, result, answer = invoke(graph.compile(), False)["messages"]
        assert "This tool had to stop" in result.text
        assert result.text.endswith("What models had answered in it:\n\nanswer 2")
        assert asked_last(provider)[-2] == f"Result of ask: {result.text}"
        assert answer.text == "answer 3"


def test_only_the_edges_of_what_was_refused_stay_shut(provider: LocalProvider) -> None:
    """Two graphs side by side: a call in the first is refused, and the second ends while the first still runs."""
    model, visited = governed(provider), []

    async def main() -> Any:
        refused, ended = asyncio.Event(), asyncio.Event()

        async def ask(state: Any) -> Any:
            return {"messages": [await model.ainvoke("Go on.")]}

        async def late(state: Any) -> None:
            refused.set()  # a step behind the refused one
            await ended.wait()

        async def wait(state: Any) -> None:
            await refused.wait()

        def onwards(state: Any) -> str:
            ended.set()
            return "after_second"

        first: Any = StateGraph(MessagesState)
        first.add_node("ask", ask)
        first.add_node("beside", lambda state: None)
        first.add_node("late", late)
        first.add_edge(START, "ask")
        first.add_edge(START, "beside")
        first.add_edge("beside", "late")
        second: Any = StateGraph(MessagesState)
        second.add_node("wait", wait)
        second.add_edge(START, "wait")
        graph: Any = BudgetedGraph(MessagesState, budget=Budget(usd="0.000001"))
        for name, inner in (("first", first), ("second", second)):
            graph.add_node(name, inner.compile())
            graph.add_node(f"after_{name}", lambda state, name=name: visited.append(name))
            graph.add_edge(START, name)
        graph.add_edge("first", "after_first")
        graph.add_conditional_edges("second", onwards, ["after_second"])
        return await asyncio.wait_for(graph.compile().ainvoke(QUESTION), timeout=30)

    state = asyncio.run(main())
    assert visited == ["second"]
    assert state["messages"][-1].text.startswith("I had to stop here")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_graph_inside_that_was_refused_is_not_answered_from_the_node_cache(
    is_async: bool, provider: LocalProvider
) -> None:
    class Kept(TypedDict):
        messages: Annotated[list[Any], add_messages]

    model = governed(provider)
    inner: Any = StateGraph(Kept)
    for name in ("first", "second"):
        inner.add_node(name, lambda state: {"messages": [model.invoke("Go on.")]})
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")
    graph: Any = BudgetedGraph(Kept, budget=Budget(model_calls=2))
    graph.add_node("inside", inner.compile(), cache_policy=CachePolicy())
    graph.add_edge(START, "inside")
    app = graph.compile(cache=InMemoryCache())
    assert len(invoke(app, is_async)["messages"]) == 3
    app.top_up(thread(), model_calls=9, by="ada")
    again = invoke(app, is_async)
    assert [message.text for message in again["messages"]] == ["Write about trees.", "answer 3", "answer 4"]
