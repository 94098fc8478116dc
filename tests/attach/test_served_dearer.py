"""Calls that a provider serves dearer than its list price: in a region, or at a higher speed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

from budgeted_agents import Budget, CostCallback, budgeted, budgeted_model, replay
from budgeted_agents.integrations.langchain.calls import introspect
from budgeted_agents.testing import LocalProvider
from tests.attach.support import KEY, serving

MODEL = "claude-opus-5"
LIST = (Decimal("5"), Decimal("0.5"), Decimal("25"))
"""USD per million tokens of input, of cached input, and of output; claude-opus-5 costs that on LiteLLM's list."""

DEARER = pytest.mark.parametrize(
    ("settings", "factor"),
    [({"inference_geo": "us"}, Decimal("1.1")), ({"model_kwargs": {"speed": "fast"}}, Decimal(2)), ({}, Decimal(1))],
    ids=["in the US", "fast", "as listed"],
)


def dearer(factor: Decimal) -> LocalProvider:
    """A provider that bills the model at a multiple of its list price."""
    return serving(prices={MODEL: (LIST[0] * factor, LIST[1] * factor, LIST[2] * factor)})


def claude(provider: LocalProvider, **settings: Any) -> ChatAnthropic:
    settings = {"max_tokens": 200, "max_retries": 0, **settings}
    return ChatAnthropic(model_name=MODEL, base_url=provider.url, api_key=KEY, **settings)


def nanos(provider: LocalProvider) -> int:
    return sum(request.nanos for request in provider.requests)


@DEARER
@pytest.mark.parametrize(
    "run", [lambda m: m.invoke("Hello"), lambda m: list(m.stream("Hello"))], ids=["whole", "stream"]
)
def test_a_governed_model_holds_and_charges_what_is_asked_for(
    settings: dict[str, Any], factor: Decimal, run: Callable[[Any], object]
) -> None:
    with dearer(factor) as provider:
        model = budgeted_model(claude(provider, **settings))
        events: list[str] = []
        app = budgeted(
            _graph(lambda _: run(model)),
            budget=Budget(usd="1.00"),
            listeners=(lambda event: events.append(event.kind),),
        )
        app.invoke({"messages": []})
        assert app.spend().cost_nanos == nanos(provider) > 0
        assert "overrun" not in events


@DEARER
def test_a_plain_model_is_charged_where_and_how_its_answer_says_it_was_served(
    settings: dict[str, Any], factor: Decimal
) -> None:
    with dearer(factor) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        claude(provider, **settings).invoke("Hello", {"callbacks": [callback]})
        assert callback.spend.cost_nanos == nanos(provider) > 0


@DEARER
def test_what_was_charged_is_what_an_audit_of_the_journal_comes_to(
    settings: dict[str, Any], factor: Decimal, tmp_path: Path
) -> None:
    with dearer(factor) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"), journal=str(tmp_path))
        claude(provider, **settings).invoke("Hello", {"callbacks": [callback]})
        (session,) = replay([tmp_path]).sessions
        assert session.figures.cost_usd == callback.spend.cost_usd == Decimal(nanos(provider)).scaleb(-9)
        assert session.verdict == "exact"


def test_arguments_of_a_call_are_seen_before_it_is_made() -> None:
    with dearer(Decimal("1.1")) as provider:
        listened: list[str] = []
        callback = CostCallback(budget=Budget(usd="1.00"), listeners=[lambda event: listened.append(event.kind)])
        claude(provider).bind(inference_geo="us").invoke("Hello", {"callbacks": [callback]})
        assert callback.spend.cost_nanos == nanos(provider) > 0
        assert listened == []


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://eu.api.openai.com/v1", "eu"),
        ("https://us.api.openai.com/v1/", "us"),
        ("https://api.openai.com/v1", None),
        ("http://127.0.0.1:8000/v1", None),
        ("https://eu.api.openai.com.example.org/v1", None),
    ],
)
def test_openais_hosts_name_their_region(url: str, region: str | None) -> None:
    assert introspect.region(ChatOpenAI(model="gpt-4o", base_url=url, api_key=KEY)) == region


def _graph(work: Callable[[Any], object]) -> Any:
    def step(state: MessagesState) -> dict[str, Any]:
        work(state)
        return {}

    graph = StateGraph(MessagesState)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_edge("step", END)
    return graph.compile()
