"""Calls made at once in one node: when one is refused, what the others go on to answer is paid for, and not lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableParallel
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState
from langgraph.prebuilt import ToolNode

from budgeted_agents import Budget, BudgetedGraph
from budgeted_agents.testing import Reply, Request
from budgeted_agents.traces import BudgetEvent
from tests.langgraph.support import assert_exact, openai_model, serving, thread

PARTS = [f"Part {number}." for number in range(5)]
AFFORDABLE = 3
BUDGET = Budget(model_calls=AFFORDABLE + 1, max_wait=0)
"""One call is kept for the landing."""

LONGEST = 60
"""Seconds after which a run that waits for what never comes has failed."""


class Exchange:
    """A provider that answers nothing before some call was refused.

    Attributes:
        asked: set as soon as the first request has come.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._refused = threading.Event()
        self.provider = serving(self._reply)

    def listen(self, event: BudgetEvent) -> None:
        if event.kind == "refusal":
            self._refused.set()

    def _reply(self, request: Request) -> Reply:
        self.asked.set()
        assert self._refused.wait(LONGEST)
        return Reply(f"answer to {request.messages[-1].text}")


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = Exchange()
    with made.provider:
        yield made


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Handlers of a ledger in a file run in threads, of one in memory on the event loop."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/spend.db"


async def gathered(model: Any) -> Any:
    return await asyncio.gather(*(model.ainvoke(part) for part in PARTS))


async def batched(model: Any) -> Any:
    return await model.abatch(PARTS)


async def parallel(model: Any) -> Any:
    answers = await RunnableParallel(dict.fromkeys(PARTS, model)).ainvoke("Go on.")
    return list(answers.values())


async def streamed(model: Any) -> Any:
    async def whole(part: str) -> Any:
        chunks = [chunk async for chunk in model.astream(part, stream_usage=True)]
        return sum(chunks[1:], chunks[0])

    return await asyncio.gather(*map(whole, PARTS))


def in_one_node(work: Any, exchange: Exchange, ledger: str) -> Any:
    graph: Any = BudgetedGraph(MessagesState, budget=BUDGET, ledger=ledger, listeners=(exchange.listen,))
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    return graph.compile()


def run(app: Any, state: Any = None) -> Any:
    """The final state, by all ways LangGraph runs an asynchronous node."""
    begin = state or {"messages": [("user", "Write it.")]}
    return asyncio.run(asyncio.wait_for(app.ainvoke(begin, thread()), LONGEST))


def paid_for(exchange: Exchange) -> list[str]:
    return sorted(f"answer to {record.request.messages[-1].text}" for record in exchange.provider.requests)


@pytest.mark.parametrize("ask", [gathered, batched, parallel, streamed])
def test_the_landing_has_what_the_calls_beside_the_refused_one_answer(
    ask: Callable[[Any], Any], exchange: Exchange, ledger: str
) -> None:
    model = openai_model(exchange.provider, max_tokens=100)

    async def work(state: Any) -> Any:
        return {"messages": await ask(model)}

    app = in_one_node(work, exchange, ledger)
    last = run(app)["messages"][-1].text
    assert len(exchange.provider.requests) == AFFORDABLE
    assert sorted(last.partition("not finished:")[2].split("\n\n")[1:]) == paid_for(exchange)
    assert_exact(app.spend(thread()), exchange.provider)


def test_under_astream_events_as_well(exchange: Exchange, ledger: str) -> None:
    model = openai_model(exchange.provider, max_tokens=100)

    async def work(state: Any) -> Any:
        return {"messages": await gathered(model)}

    app = in_one_node(work, exchange, ledger)

    async def last_event() -> Any:
        events = app.astream_events({"messages": [("user", "Write it.")]}, thread(), version="v2")
        return [event async for event in events][-1]

    last = asyncio.run(asyncio.wait_for(last_event(), LONGEST))["data"]["output"]["messages"][-1].text
    assert sorted(last.partition("not finished:")[2].split("\n\n")[1:]) == paid_for(exchange)


def test_a_tool_answers_with_them(exchange: Exchange, ledger: str) -> None:
    model = openai_model(exchange.provider, max_tokens=100)

    @tool
    async def study(subject: str) -> str:
        """Studies a subject."""
        return "".join(answer.text for answer in await gathered(model))

    app = in_one_node(ToolNode([study]), exchange, ledger)
    call = {"name": "study", "args": {"subject": "trees"}, "id": "call_1", "type": "tool_call"}
    messages = run(app, {"messages": [AIMessage("", tool_calls=[call])]})["messages"]
    result = next(message for message in messages if isinstance(message, ToolMessage))
    assert sorted(result.text.partition("answered in it:")[2].split("\n\n")[1:]) == paid_for(exchange)


@pytest.mark.parametrize("in_a_task_of_its_own", [True, False])
def test_a_call_that_was_cancelled_is_not_waited_for(
    in_a_task_of_its_own: bool, exchange: Exchange, ledger: str
) -> None:
    """Nobody ever says that it has ended."""
    model = openai_model(exchange.provider, max_tokens=100)

    async def given_up() -> None:
        async with asyncio.timeout(None) as limit:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(None, exchange.asked.wait)
            asked.add_done_callback(lambda _: limit.reschedule(loop.time()))
            await model.ainvoke("Wait for it.")

    async def work(state: Any) -> Any:
        with suppress(TimeoutError):
            await (asyncio.create_task(given_up()) if in_a_task_of_its_own else given_up())
        return {"messages": await gathered(model)}

    app = in_one_node(work, exchange, ledger)
    last = run(app)["messages"][-1].text
    answers = last.partition("not finished:")[2].split("\n\n")[1:]
    assert len(answers) == AFFORDABLE - 1
    assert "answer to Wait for it." not in answers
    assert app.spend(thread()).in_flight == 1


def test_a_step_waits_for_calls_of_the_steps_inside_it(exchange: Exchange, ledger: str) -> None:
    """Two tools at once, one of them refused: the run stops when the other one has its answer."""
    model = openai_model(exchange.provider, max_tokens=100)

    @tool
    async def study(subject: str) -> str:
        """Studies a subject."""
        return str((await model.ainvoke(subject)).text)

    budget = Budget(model_calls=1, on_exhausted="suspend", max_wait=0)
    graph: Any = BudgetedGraph(MessagesState, budget=budget, ledger=ledger, listeners=(exchange.listen,))
    graph.add_node("tools", ToolNode([study]))
    graph.add_edge(START, "tools")
    app = graph.compile()
    calls = [{"name": "study", "args": {"subject": name}, "id": name, "type": "tool_call"} for name in ("oaks", "elms")]
    run(app, {"messages": [AIMessage("", tool_calls=calls)]})
    assert len(exchange.provider.requests) == 1
    assert_exact(app.spend(thread()), exchange.provider)
