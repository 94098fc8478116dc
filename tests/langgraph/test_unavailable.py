"""A model to step down to that cannot be called: what was to save money must not end the run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.meter import BudgetEvent
from budgeted_agents.testing import LocalProvider, Reply, Request
from tests.langchain.support import Governed
from tests.langgraph.support import State, assert_exact, openai_model, serving, thread

BEGIN = {"messages": [], "visits": 0}
CHEAP, CHEAPER = "gpt-4o-mini", "gpt-4.1-nano"
CAP = Budget(usd="0.04")
PRICES = {
    "gpt-4o": (Decimal("2.50"), Decimal("1.25"), Decimal("10")),
    "gpt-3.5-turbo": (Decimal("0.50"), Decimal("0.50"), Decimal("1.50")),
}


def turning_down(*models: str, status: int = 401) -> Callable[[Request], Reply]:
    """Answers, but not by these models."""

    def reply(request: Request) -> Reply:
        if request.model in models:
            return Reply("no", status=status, headers={"retry-after": "0"})
        return Reply("Let me think about that.", output_tokens=400)

    return reply


def loop(provider: LocalProvider, *tiers: str, heard: Any = None, streams: bool = False, **settings: Any) -> Any:
    """A graph that only its budget ends."""
    model = budgeted_model(*(openai_model(provider, name, **settings) for name in tiers))

    def think(state: State) -> dict[str, Any]:
        answer = [*model.stream("Who?")][-1] if streams else model.invoke("Who?")
        return {"messages": [answer]}

    async def athink(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke("Who?")]}

    graph: Any = BudgetedGraph(State, budget=CAP, listeners=() if heard is None else (heard.append,))
    graph.add_node("think", RunnableLambda(think, athink))
    graph.add_edge(START, "think")
    graph.add_edge("think", "think")
    return graph.compile()


def invoke(app: Any) -> None:
    app.invoke(BEGIN, thread())


def ainvoke(app: Any) -> None:
    asyncio.run(app.ainvoke(BEGIN, thread()))


@pytest.mark.parametrize(("way", "streams"), [(invoke, False), (invoke, True), (ainvoke, False)])
@pytest.mark.parametrize("status", [400, 401, 404, 503])
def test_the_run_goes_on_with_the_other_models(way: Callable[[Any], Any], streams: bool, status: int) -> None:
    heard: list[BudgetEvent] = []
    with serving(turning_down(CHEAP, status=status)) as provider:
        app = loop(provider, "gpt-4o", CHEAP, CHEAPER, heard=heard, streams=streams, max_retries=0)
        way(app)
        spend = app.spend(thread())
        asked = Counter(record.model for record in provider.requests)
        assert asked[CHEAP] == 1 if status < 500 else asked[CHEAP] > 5  # it is asked again only where that may help
        assert asked[CHEAPER] > 5
        assert spend.landing == "Landed by the default finalizer"
        told = [event.message.split(" (")[0] for event in heard if event.kind == "unavailable"]
        assert told == [f"{CHEAP} turned a call down"] * asked[CHEAP]
        assert_exact(spend, provider, Decimal("0.04"))


def test_without_any_other_model_the_first_one_goes_on_and_lands() -> None:
    with serving(turning_down(CHEAP)) as provider:
        app = loop(provider, "gpt-4o", CHEAP)
        app.invoke(BEGIN, thread())
        spend = app.spend(thread())
        assert Counter(record.model for record in provider.requests)[CHEAP] == 1
        assert spend.landing == "Landed with the partial state"  # so little is kept for landing buys no gpt-4o
        assert spend.cost_usd > Decimal("0.036")


def test_a_failure_of_the_first_model_is_the_callers() -> None:
    with serving(turning_down("gpt-4o")) as provider:
        with pytest.raises(Exception, match="401"):
            loop(provider, "gpt-4o", CHEAP).invoke(BEGIN, thread())
        assert Counter(record.model for record in provider.requests) == {"gpt-4o": 1}


def test_a_model_that_has_no_room_for_the_prompt_is_not_stepped_down_to() -> None:
    """gpt-3.5-turbo costs a fifth of gpt-4o, and takes 16,385 tokens."""
    with serving(turning_down(), prices=PRICES) as provider:
        model = budgeted_model(openai_model(provider), openai_model(provider, "gpt-3.5-turbo"))
        prompts = iter(["hello " * 20_000, "Who?"])
        pressed = Budget(usd="1", alert_at=0.01, downgrade_at=0.01)
        report = Governed(pressed).run(lambda: [model.invoke("Who?" * 900), *map(model.invoke, prompts)])
        assert [record.model for record in provider.requests] == ["gpt-4o", "gpt-4o", "gpt-3.5-turbo"]
        assert report.cost_nanos == provider.bill_nanos
