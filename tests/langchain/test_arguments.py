"""What a call's own arguments change: the model, the prompt cache, the form of the answer. All is held for and charged
as the provider bills it, and stepping down ends no call."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.graph import START
from pydantic import BaseModel, Field, create_model

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.estimate import count_text
from budgeted_agents.testing import LocalProvider, Reply, Request, fill, fixed
from budgeted_agents.testing.conversation import RequestRejected
from tests.langchain.support import Governed, anthropic_model, gemini_model
from tests.langgraph.support import State, openai_model, serving, thread

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")

Make = Callable[[LocalProvider], BaseChatModel]


def plainly(model: BaseChatModel) -> BaseChatModel:
    return model


HOWEVER = pytest.mark.parametrize("governed", [budgeted_model, plainly])


# -- a limit that is added to the request -------------------------------------------------------------------------


@HOWEVER
@pytest.mark.parametrize(
    "made",
    [
        lambda provider: openai_model(provider, max_tokens=100, extra_body={"max_completion_tokens": 900, "top_k": 5}),
        lambda provider: openai_model(provider, max_tokens=100).bind(extra_body={"max_completion_tokens": 900}),
    ],
    ids=["by the model", "by the call"],
)
def test_a_limit_in_an_extra_body_is_held_for(governed: Any, made: Any) -> None:
    with serving(fill(16_000)) as provider:
        model = made(provider)
        asking = governed(model) if isinstance(model, BaseChatModel) else governed(model.bound).bind(**model.kwargs)
        report = Governed().run(lambda: asking.invoke("Who?"))
        assert provider.requests[0].usage.output_tokens == report.calls[0].granted == 900
        assert report.cost_nanos == provider.bill_nanos <= report.calls[0].reserved


def test_a_limit_in_an_extra_body_is_lowered_to_what_the_money_buys() -> None:
    with serving(fill(16_000)) as provider:
        extra = {"max_completion_tokens": 900, "top_k": 5}
        model = budgeted_model(openai_model(provider, max_tokens=100, extra_body=extra))
        report = Governed(Budget(usd="0.005", landing_reserve=0)).run(lambda: model.invoke("Who?"))
        assert provider.requests[0].usage.output_tokens == report.calls[0].granted < 900
        assert report.cost_nanos == provider.bill_nanos <= 5_000_000
        assert extra == {"max_completion_tokens": 900, "top_k": 5}


# -- another model ------------------------------------------------------------------------------------------------


@HOWEVER
@pytest.mark.parametrize(
    "ask", [lambda m: m.bind(model="gpt-4o").invoke("Who?"), lambda m: m.invoke("Who?", model="gpt-4o")]
)
def test_a_call_that_asks_for_another_model_is_charged_at_its_price(governed: Any, ask: Any) -> None:
    with serving(fixed("Rex", output_tokens=90)) as provider:
        model = governed(openai_model(provider, "gpt-4o-mini", max_tokens=100))
        report = Governed().run(lambda: ask(model))
        assert [record.model for record in provider.requests] == ["gpt-4o"]
        assert report.cost_nanos == provider.bill_nanos <= report.calls[0].reserved


def test_a_call_that_asks_for_another_model_steps_down_from_that() -> None:
    with serving(fixed("Rex", output_tokens=90)) as provider:
        model = budgeted_model(
            openai_model(provider, "gpt-4.1-nano", max_tokens=100),
            openai_model(provider, "gpt-4o-mini", max_tokens=100),
        )
        strict = Budget(usd="0.005", alert_at=0.1, downgrade_at=0.1, landing_reserve=0)
        report = Governed(strict).run(lambda: [model.invoke("Who?", model="gpt-4o") for _ in range(8)])
        assert {record.model for record in provider.requests} == {"gpt-4o", "gpt-4o-mini"}
        assert report.cost_nanos == provider.bill_nanos <= 5_000_000


# -- the prompt cache ---------------------------------------------------------------------------------------------

LONG = [SystemMessage("word " * 4_000), HumanMessage("Who?")]
CACHED: dict[str, Any] = {"type": "ephemeral"}
TOOL: dict[str, Any] = {"name": "x", "description": "y", "input_schema": {"type": "object", "properties": {}}}

ASKS: dict[str, dict[str, Any]] = {
    "by the call": {"cache_control": CACHED},
    "by a tool": {"tools": [TOOL | {"cache_control": CACHED}]},
}


def writes_its_cache(request: Request) -> Reply:
    return Reply("Rex", output_tokens=90, cache_write_tokens=request.count_input(count_text))


@HOWEVER
@pytest.mark.parametrize("asks", ASKS)
def test_what_is_written_to_a_prompt_cache_is_held_for(governed: Any, asks: str) -> None:
    """Also when the margin for the model's tokens has been learned, so that nothing else is held."""
    with serving(writes_its_cache) as provider:
        model = governed(anthropic_model(provider))
        report = Governed(Budget(usd="0.15", landing_reserve=0)).run(
            lambda: [model.invoke(LONG, **ASKS[asks]) for _ in range(100)]
        )
        assert len(provider.requests) > 16
        assert report.cost_nanos == provider.bill_nanos <= 150_000_000
        assert not any("overrun" in call.flags for call in report.calls)


def test_a_lower_tier_of_another_provider_is_not_told_how_to_cache() -> None:
    with serving(fixed("Rex", output_tokens=90)) as provider:
        model = budgeted_model(anthropic_model(provider), openai_model(provider, "gpt-4o-mini", max_tokens=100))
        strict = Budget(usd="0.003", alert_at=0.1, downgrade_at=0.1, landing_reserve=0)
        marked = [HumanMessage([{"type": "text", "text": "Who?", "cache_control": CACHED}])]
        report = Governed(strict).run(lambda: [model.invoke(marked, cache_control=CACHED) for _ in range(6)])
        assert report.cost_nanos == provider.bill_nanos
        told = {record.model: "cache_control" in str(record.request.body) for record in provider.requests}
        assert told == {"claude-haiku-4-5": True, "gpt-4o-mini": False}


# -- the form of the answer ---------------------------------------------------------------------------------------


class Pet(BaseModel):
    """An animal."""

    name: str


FIELDS: dict[str, Any] = {
    f"field_{n}": (str, Field("", description="What there is to say of it. " * 30)) for n in range(60)
}
Detailed = create_model("Detailed", **FIELDS)

MODELS: dict[str, tuple[Make, Make]] = {
    "openai": (partial(openai_model, max_tokens=100), partial(openai_model, model="gpt-4o-mini", max_tokens=100)),
    "anthropic": (partial(anthropic_model, model="claude-sonnet-4-5"), anthropic_model),
    "gemini": (gemini_model, gemini_model),
}
"""A model of each provider, and a cheaper one."""


@HOWEVER
@pytest.mark.parametrize("provider_name", MODELS)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_schema_is_held_for_wherever_it_stands(governed: Any, provider_name: str, method: str) -> None:
    with serving(fixed("{}", output_tokens=2)) as provider:
        plain: Any = MODELS[provider_name][0](provider)
        model = governed(plain).with_structured_output(Detailed, method=method, include_raw=True)
        report = Governed().run(lambda: model.invoke("Who?"))
        assert provider.requests[0].usage.input_tokens > 8_000
        assert report.cost_nanos == provider.bill_nanos <= report.calls[0].reserved


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("first", MODELS)
@pytest.mark.parametrize("second", MODELS)
def test_a_structured_answer_is_given_by_whichever_tier_can(first: str, second: str, method: str) -> None:
    """A format is read by what the first model's class has bound it with, so another class is not asked for it."""
    with serving(fixed("Rex", output_tokens=20)) as provider:
        dear: Any = MODELS[first][0](provider)
        model = budgeted_model(dear, MODELS[second][1](provider)).with_structured_output(Pet, method=method)
        tight = Budget(usd="0.01", alert_at=0.01, downgrade_at=0.01, landing_reserve=0)
        pets: list[Any] = []
        report = Governed(tight).run(lambda: pets.extend(model.invoke("Who?") for _ in range(4)))
        assert pets == [Pet(name="Rex")] * 4
        assert report.cost_nanos == provider.bill_nanos
        is_cheaper = first != "gemini" or second == "openai"
        assert bool(report.downgrades) is (is_cheaper and (first == second or method == "function_calling"))


# -- thinking -----------------------------------------------------------------------------------------------------

THINKING: dict[str, Any] = {"type": "enabled", "budget_tokens": 4_000}


@pytest.mark.parametrize(("cap", "thinks"), [("0.05", "enabled"), ("0.02", "disabled")])
@pytest.mark.parametrize("how", ["by the model", "by the call"])
def test_a_shortened_answer_has_room_beside_the_thinking(cap: str, thinks: str, how: str) -> None:
    with serving(fill(16_000)) as provider:
        by_model, by_call = ({"thinking": THINKING}, {}) if how == "by the model" else ({}, {"thinking": THINKING})
        model: Any = budgeted_model(anthropic_model(provider, "claude-sonnet-4-5", max_tokens=8_000, **by_model))
        report = Governed(Budget(usd=cap, landing_reserve=0)).run(lambda: model.invoke("Who?", **by_call))
        body = provider.requests[0].request.body
        assert body["max_tokens"] < THINKING["budget_tokens"]
        assert body["thinking"]["type"] == thinks
        assert body["thinking"].get("budget_tokens", 0) < body["max_tokens"]
        assert report.cost_nanos == provider.bill_nanos <= int(float(cap) * 10**9)


def test_a_model_that_thinks_can_be_landed_with() -> None:
    with serving(fixed("Here is what I have.", output_tokens=90)) as provider:
        model = budgeted_model(anthropic_model(provider, max_tokens=8_000, thinking=THINKING))

        def ask(state: State) -> Any:
            return {"messages": [model.invoke(state["messages"])]}

        graph: Any = BudgetedGraph(State, budget=Budget(model_calls=3))
        graph.add_node("ask", ask)
        graph.add_edge(START, "ask")
        graph.add_edge("ask", "ask")
        app = graph.compile()
        state = app.invoke({"messages": [HumanMessage("Who?")], "visits": 0}, thread())
        assert len(provider.requests) == len(state["messages"]) - 1 == 3
        assert app.spend(thread()).landing == "Landed by the default finalizer"


# -- what a lower tier does not take ------------------------------------------------------------------------------

TIERS = {
    "gpt-4o": (Decimal("2.50"), Decimal("1.25"), Decimal("10")),
    "gpt-5": (Decimal("1.25"), Decimal("0.125"), Decimal("10")),
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.075"), Decimal("0.60")),
    "gpt-5-mini": (Decimal("0.25"), Decimal("0.025"), Decimal("2")),
}


def as_strict_as_openai(request: Request) -> Reply:
    """Turns down what a model does not take, as OpenAI does."""
    thinks, body = request.model.startswith("gpt-5"), request.body
    if ("reasoning_effort" in body) if not thinks else body.get("temperature") not in (None, 1):
        raise RequestRejected("Unsupported parameter")
    return Reply("Let me think.", output_tokens=800)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (lambda p: budgeted_model("openai/gpt-4o", "openai/gpt-5-mini", temperature=0, **local(p)), {}),
        (lambda p: budgeted_model("openai/gpt-4o", "openai/gpt-5-mini", **local(p)), {"temperature": 0}),
        (lambda p: budgeted_model("openai/gpt-5", "openai/gpt-4o-mini", **local(p)), {"reasoning_effort": "low"}),
        (lambda p: budgeted_model(openai_model(p), openai_model(p, "gpt-5-mini")), {"temperature": 0}),
        (
            lambda p: budgeted_model(openai_model(p, "gpt-5"), openai_model(p, "gpt-4o-mini")),
            {"reasoning_effort": "low"},
        ),
    ],
    ids=["litellm, by the model", "litellm, by the call", "litellm, effort", "openai, temperature", "openai, effort"],
)
def test_a_lower_tier_is_not_given_what_it_does_not_take(make: Any, arguments: dict[str, Any]) -> None:
    with serving(as_strict_as_openai, prices=TIERS) as provider:
        model = make(provider).bind(**arguments)
        graph: Any = BudgetedGraph(State, budget=Budget(usd="0.03"))
        graph.add_node("think", lambda state: {"messages": [model.invoke("Who?")]})
        graph.add_edge(START, "think")
        graph.add_edge("think", "think")
        app = graph.compile()
        app.invoke({"messages": [], "visits": 0}, thread())
        assert app.spend(thread()).landing == "Landed by the default finalizer"
        first, *_, last = provider.requests
        assert first.model != last.model
        assert set(arguments) <= set(first.request.body)


ANSWERED = AIMessage(
    [
        {"type": "thinking", "thinking": "Where?", "signature": "signed"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Rex"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "text", "text": "Let me look.", "citations": [{"type": "web_search_result_location", "url": "u"}]},
        {"type": "tool_use", "id": "c1", "name": "look_up", "input": {"word": "Rex"}},
    ],
    tool_calls=[{"name": "look_up", "args": {"word": "Rex"}, "id": "c1"}],
)


def test_a_lower_tier_of_another_class_is_not_given_what_only_the_first_provider_reads() -> None:
    """Signed thoughts, searches that a provider ran: any other provider turns a history with these down."""
    history = [HumanMessage("Who?"), ANSWERED, ToolMessage("A dog.", tool_call_id="c1"), HumanMessage("Go on.")]
    with serving(fixed("Rex", output_tokens=90)) as provider:
        model = budgeted_model(anthropic_model(provider, "claude-sonnet-4-5"), openai_model(provider, "gpt-4o-mini"))
        pressed = Budget(usd="0.05", alert_at=0.05, downgrade_at=0.05, landing_reserve=0)
        Governed(pressed).run(lambda: [model.invoke(history) for _ in range(3)])
        sent = {record.model: record.request.body["messages"] for record in provider.requests}
        assert "server_tool_use" in str(sent["claude-sonnet-4-5"])
        asked = next(message for message in sent["gpt-4o-mini"] if message["role"] == "assistant")
        assert asked["content"] == [{"type": "text", "text": "Let me look."}]
        assert asked["tool_calls"][0]["function"]["name"] == "look_up"


def local(provider: LocalProvider) -> dict[str, Any]:
    return {"api_base": provider.base_url, "api_key": "sk-local"}
