"""What runs again is charged again, what does not run is not: interrupts, retries, replays, forks, time travel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState
from langgraph.types import Command, RetryPolicy, interrupt

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.testing import LocalProvider, fixed
from tests.langgraph.support import State, openai_model, serving, slim, thread

EMPTY: Any = {"messages": [], "visits": 0}


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed(" word" * 30, output_tokens=30)) as running:
        yield running


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemorySaver()
        return
    with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as sqlite:
        yield sqlite


def graph_of(budget: Budget, *nodes: Any, **adding: Any) -> Any:
    """A graph that runs these nodes one after the other."""
    graph: Any = BudgetedGraph(State, budget=budget)
    for before, node in zip((START, *(n.__name__ for n in nodes)), nodes, strict=False):
        graph.add_node(node.__name__, node, **adding)
        graph.add_edge(before, node.__name__)
    graph.add_edge(nodes[-1].__name__, END)
    return graph


def charged(app: Any, provider: LocalProvider, requests: int) -> None:
    """So many requests were made, and the ledger has each of them, to the nano-dollar."""
    report = app.spend(thread())
    assert len(provider.requests) == len(report.model_calls) == requests
    assert report.cost_nanos == provider.bill_nanos
    assert report.in_flight == 0


def test_an_interrupted_node_is_charged_for_what_it_really_called(provider: LocalProvider, saver: Any) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))

    def ask(state: State) -> Any:
        question = slim(model.invoke("Write a question."))
        answer = interrupt(question.text)
        return {"messages": [question, HumanMessage(answer), slim(model.invoke("Go on."))]}

    app = graph_of(Budget(usd="0.05"), ask).compile(checkpointer=saver)
    assert "__interrupt__" in app.invoke(EMPTY, thread())
    charged(app, provider, 1)
    state = app.invoke(Command(resume="Yes."), thread())
    assert [type(message).__name__ for message in state["messages"]] == ["AIMessage", "HumanMessage", "AIMessage"]
    charged(app, provider, 3)  # the node ran again from its beginning


def test_every_attempt_of_a_retried_node_is_charged(provider: LocalProvider, saver: Any) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))
    failures = iter([True, True, False])

    def flaky(state: State) -> Any:
        answer = slim(model.invoke("Go on."))
        if next(failures):
            raise ConnectionError("after the call")
        return {"messages": [answer]}

    retries = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False)
    app = graph_of(Budget(usd="0.05"), flaky, retry_policy=retries).compile(checkpointer=saver)
    assert len(app.invoke(EMPTY, thread())["messages"]) == 1
    charged(app, provider, 3)


def test_a_failed_run_goes_on_and_its_finished_siblings_are_not_charged_again(
    provider: LocalProvider, saver: Any
) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))
    failures = iter([True, False])

    def steady(state: State) -> Any:
        return {"messages": [slim(model.invoke("Go on."))]}

    def flaky(state: State) -> Any:
        if next(failures):
            raise ConnectionError("before the call")
        return steady(state)

    graph: Any = BudgetedGraph(State, budget=Budget(usd="0.05"))
    for node in (steady, flaky):
        graph.add_node(node.__name__, node)
        graph.add_edge(START, node.__name__)
    app = graph.compile(checkpointer=saver)
    with pytest.raises(ConnectionError):
        app.invoke(EMPTY, thread())
    assert len(app.invoke(None, thread())["messages"]) == 2
    charged(app, provider, 2)


def test_replays_that_run_nothing_cost_nothing_and_forks_are_charged(provider: LocalProvider, saver: Any) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))

    def first(state: State) -> Any:
        return {"messages": [slim(model.invoke("First."))]}

    def second(state: State) -> Any:
        return {"messages": [slim(model.invoke("Second."))]}

    app = graph_of(Budget(usd="0.05"), first, second).compile(checkpointer=saver)
    app.invoke(EMPTY, thread())
    charged(app, provider, 2)

    history = list(app.get_state_history(thread()))
    finished, between = history[0], next(s for s in history if s.next == ("second",))
    app.invoke(None, finished.config)
    app.invoke(None, thread())
    charged(app, provider, 2)  # nothing was left to run

    app.invoke(None, between.config)
    charged(app, provider, 3)  # time travel: the second node ran again

    fork = app.update_state(between.config, {"messages": [HumanMessage("Otherwise.")]})
    charged(app, provider, 3)  # writing a state runs nothing
    assert len(app.invoke(None, fork)["messages"]) == 3
    charged(app, provider, 4)


def test_time_travel_does_not_bring_money_back(provider: LocalProvider, saver: Any) -> None:
    model = budgeted_model(openai_model(provider, max_tokens=40))

    def work(state: State) -> Any:
        return {"messages": [slim(model.invoke("Go on."))]}

    budget = Budget(usd="0.05", model_calls=1, min_output_tokens=20, on_exhausted="suspend")
    app = graph_of(budget, work).compile(checkpointer=saver)
    app.invoke(EMPTY, thread())
    start = next(s for s in app.get_state_history(thread()) if s.next == ("work",))
    app.invoke(None, start.config)
    charged(app, provider, 1)


def landing_app(provider: LocalProvider, saver: Any) -> Any:
    model = budgeted_model(openai_model(provider, max_tokens=40))

    def work(state: State) -> Any:
        return {"messages": [slim(model.invoke("Go on."))]}

    return graph_of(Budget(usd="0.05", model_calls=2, min_output_tokens=20), work).compile(checkpointer=saver)


def test_without_a_top_up_a_new_turn_on_a_landed_thread_lands_at_once(provider: LocalProvider, saver: Any) -> None:
    app = landing_app(provider, saver)
    turn: Any = {"messages": [HumanMessage("Go on.")]}
    app.invoke(turn, thread())
    app.invoke(turn, thread())  # refused; the landing reserve pays for the answer
    charged(app, provider, 2)
    for _ in range(2):
        state = app.invoke(turn, thread())
        assert state["messages"][-1].text.startswith("I had to stop here because the budget for this task is spent.")
        assert app.get_state(thread()).next == ()
        charged(app, provider, 2)


def test_after_a_top_up_a_new_turn_on_a_landed_thread_works(provider: LocalProvider, saver: Any) -> None:
    app = landing_app(provider, saver)
    turn: Any = {"messages": [HumanMessage("Go on.")]}
    app.invoke(turn, thread())
    app.invoke(turn, thread())
    assert app.spend(thread()).landing
    app.top_up(thread(), model_calls=2, by="ops")  # one fills the landing reserve again
    state = app.invoke(turn, thread())
    assert state["messages"][-1].usage_metadata["output_tokens"] == 30
    charged(app, provider, 3)
    assert app.spend(thread()).landing == ""


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_person_has_answered_is_not_asked_again_after_a_suspension(
    by_id: bool, is_async: bool, provider: LocalProvider, saver: Any
) -> None:
    if is_async and isinstance(saver, SqliteSaver):
        saver = InMemorySaver()  # this one has no asynchronous methods
    model = openai_model(provider, max_tokens=40)

    def work(state: Any) -> Any:
        model.invoke("First.")
        answer = interrupt("sure?")
        return {"messages": [AIMessage(f"{answer}: {model.invoke('Second.').text}")]}

    graph: Any = BudgetedGraph(MessagesState, budget=Budget(model_calls=2, on_exhausted="suspend"))
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    app = graph.compile(checkpointer=saver)

    def run(value: Any) -> Any:
        return asyncio.run(app.ainvoke(value, thread())) if is_async else app.invoke(value, thread())

    (question,) = run({"messages": [("user", "Go.")]})["__interrupt__"]
    stopped = run(Command(resume={question.id: "yes"} if by_id else "yes"))
    assert not stopped.get("__interrupt__")
    assert app.get_state(thread()).next == ("work",)
    app.top_up(thread(), model_calls=9, by="ada")
    ended = run(None)
    assert not ended.get("__interrupt__")
    assert ended["messages"][-1].text.startswith("yes: ")
    charged(app, provider, 4)
