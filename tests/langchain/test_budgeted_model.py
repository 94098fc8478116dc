"""``budgeted_model`` is a real chat model: all that its first model can do, under a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from budgeted_agents import Budget, budgeted_model
from budgeted_agents.testing import LocalProvider, Reply, ToolCall, fill, fixed
from tests.langchain.support import Governed, anthropic_model, gemini_model, litellm_model
from tests.langgraph.support import openai_model, serving

# litellm warns on import and on use, and anthropic of models that will be retired
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return word


class Pet(BaseModel):
    """An animal."""

    name: str


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving(fixed("Rex", output_tokens=2)) as running:
        yield running


BUILDS: dict[str, Any] = {
    "openai": lambda provider: budgeted_model(openai_model(provider, max_tokens=100)),
    "openai responses": lambda p: budgeted_model(openai_model(p, max_tokens=100, use_responses_api=True)),
    "anthropic": lambda provider: budgeted_model(anthropic_model(provider)),
    "gemini": lambda provider: budgeted_model(gemini_model(provider)),
    "litellm": litellm_model,
}


async def _collect(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


WAYS: dict[str, Any] = {
    "invoke": lambda model: model.invoke("Who?"),
    "stream": lambda model: list(model.stream("Who?")),
    "batch": lambda model: model.batch(["Who?", "Why?"]),
    "generate": lambda model: model.generate([[HumanMessage("Who?")], [HumanMessage("Why?")]]),
    "tools": lambda model: model.bind_tools([look_up]).invoke("Who?"),
    "structured": lambda model: model.with_structured_output(Pet).invoke("Who?"),
    "structured stream": lambda model: list(model.with_structured_output(Pet).stream("Who?")),
    "chain": lambda model: (model | (lambda answer: answer.text)).invoke("Who?"),
    "with_config": lambda model: model.with_config(tags=["x"]).invoke("Who?"),
    "own callbacks": lambda model: model.invoke("Who?", {"callbacks": []}),
    "bind": lambda model: model.bind(stop=["."]).invoke("Who?"),
    "copy": lambda model: model.model_copy().invoke("Who?"),
}
ASYNC_WAYS: dict[str, Any] = {
    "ainvoke": lambda model: model.ainvoke("Who?"),
    "astream": lambda model: _collect(model.astream("Who?")),
    "abatch": lambda model: model.abatch(["Who?", "Why?"]),
    "agenerate": lambda model: model.agenerate([[HumanMessage("Who?")], [HumanMessage("Why?")]]),
    "tools": lambda model: model.bind_tools([look_up]).ainvoke("Who?"),
    "structured": lambda model: model.with_structured_output(Pet).ainvoke("Who?"),
    "events": lambda model: _collect(model.astream_events("Who?", version="v2")),
    "gather": lambda model: asyncio.gather(*[model.ainvoke("Who?") for _ in range(5)]),
}


# langchain-openai itself cannot parse a structured stream of the Responses API.
PAIRS = [(build, way) for build in BUILDS for way in WAYS if (build, way) != ("openai responses", "structured stream")]


@pytest.mark.parametrize(("build", "way"), PAIRS)
def test_every_way_of_calling_is_charged_exactly(build: str, way: str, provider: LocalProvider) -> None:
    model = BUILDS[build](provider)
    report = Governed().run(lambda: WAYS[way](model))
    assert report.cost_nanos == provider.bill_nanos > 0
    assert len(report.model_calls) == len(provider.requests)
    assert all(call.outcome == "settled" and not call.flags for call in report.model_calls)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_every_asynchronous_way_of_calling_is_charged_exactly(build: str, way: str, provider: LocalProvider) -> None:
    model = BUILDS[build](provider)
    report = Governed().arun(lambda: ASYNC_WAYS[way](model))
    assert report.cost_nanos == provider.bill_nanos > 0
    assert len(report.model_calls) == len(provider.requests)
    assert all(call.outcome == "settled" and not call.flags for call in report.model_calls)


@pytest.mark.parametrize("build", BUILDS)
def test_outside_a_budget_it_is_the_model_it_was_given(build: str, provider: LocalProvider) -> None:
    model = BUILDS[build](provider)
    for way in [way for name, way in PAIRS if name == build]:
        WAYS[way](model)
    assert all(record.status == 200 for record in provider.requests)


def test_it_is_of_the_class_it_was_given(provider: LocalProvider) -> None:
    openai, anthropic = budgeted_model(openai_model(provider)), budgeted_model(anthropic_model(provider))
    assert isinstance(openai, ChatOpenAI)
    assert isinstance(anthropic, ChatAnthropic)
    assert isinstance(openai, BaseChatModel)
    assert type(openai).__name__ == "ChatOpenAI"
    assert openai._llm_type == "openai-chat"
    assert budgeted_model(openai, anthropic).__class__.__name__ == "ChatOpenAI"


CHANGES: dict[str, Any] = {
    "copy": lambda model: model.model_copy(update={"temperature": 0.5}),
    "configured": lambda model: model.configurable_fields(temperature=ConfigurableField("heat")).with_config(
        configurable={"heat": 0.5}
    ),
    "configured, then given tools": lambda model: (
        model.configurable_fields(temperature=ConfigurableField("heat"))
        .with_config(configurable={"heat": 0.5})
        .bind_tools([look_up])
    ),
}


@pytest.mark.parametrize("build", ["openai", "anthropic"])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_settings_are_kept_to_with_all_tiers(build: str, change: str, provider: LocalProvider) -> None:
    model = budgeted_model(BUILDS[build](provider), openai_model(provider, "gpt-4o-mini", max_tokens=100))
    changed = CHANGES[change](model)
    report = Governed().run(lambda: (changed.invoke("Who?"), model.invoke("Who?")))
    heats = [str(record.request.body).count("'temperature': 0.5") for record in provider.requests]
    assert heats == [1, 0]
    assert report.cost_nanos == provider.bill_nanos > 0

    def ask_forever() -> None:
        for _ in range(200):
            changed.invoke("Who?")

    tight = Budget(usd="0.002", alert_at=0.1, downgrade_at=0.1, landing_reserve=0)
    assert Governed(tight).run(ask_forever).downgrades


def test_the_model_given_is_left_as_it_is(provider: LocalProvider) -> None:
    plain = openai_model(provider, max_retries=3)
    before = dict(plain.__dict__)
    budgeted_model(plain, plain)
    assert plain.__dict__ == before
    assert type(plain) is ChatOpenAI


# -- the ladder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", ["openai", "litellm", "anthropic under openai", "openai under anthropic"])
def test_it_steps_down_under_pressure_with_its_tools(build: str) -> None:
    with serving([Reply("Rex", output_tokens=90)] * 40) as provider:
        tiers: dict[str, Any] = {
            "openai": lambda: budgeted_model(openai_model(provider), openai_model(provider, "gpt-4o-mini")),
            "litellm": lambda: litellm_model(provider, "openai/gpt-4o", "openai/gpt-4o-mini"),
            "anthropic under openai": lambda: budgeted_model(openai_model(provider), anthropic_model(provider)),
            "openai under anthropic": lambda: budgeted_model(
                anthropic_model(provider, "claude-sonnet-4-5"), openai_model(provider, "gpt-4o-mini")
            ),
        }
        model = tiers[build]().bind_tools([look_up], tool_choice="auto" if "under" in build else None)
        budget = Budget(usd="0.02", landing_reserve=0, alert_at=0.3, downgrade_at=0.5, min_output_tokens=50)

        def work() -> None:
            for _ in range(12):
                model.invoke("Who?", max_tokens=100)

        report = Governed(budget).run(work)
        assert report.cost_nanos == provider.bill_nanos <= 20_000_000
        asked, *_, used = [call.model_used for call in report.model_calls]
        assert asked != used
        assert report.downgrades
        assert {call.model_asked for call in report.model_calls} == {asked}
        assert [record.request.tool_names for record in provider.requests] == [("look_up",)] * len(provider.requests)
        assert {record.request.max_output_tokens for record in provider.requests} == {100}
        # Once stepped down it stays there: the provider's prompt cache is not forfeited twice.
        models = [call.model_used for call in report.model_calls]
        assert models == sorted(models, key=lambda name: name != asked)


@pytest.mark.parametrize("named", [False, True])
def test_a_tool_choice_is_handed_on_to_another_providers_model(named: bool) -> None:
    call = Reply(tool_calls=[ToolCall("look_up", {"word": "x"})])
    with serving([call] * 9) as provider:
        first, second = openai_model(provider), anthropic_model(provider)
        choice = "look_up" if named else "any"
        model = budgeted_model(first, second).bind_tools([look_up], tool_choice=choice)
        budget = Budget(usd="0.0018", landing_reserve=0, min_output_tokens=50)
        report = Governed(budget).run(lambda: model.invoke("Who?", max_tokens=190))
        assert [call.model_used for call in report.model_calls] == ["claude-haiku-4-5"]
        assert provider.requests[0].request.body["tool_choice"]["type"] == ("tool" if named else "any")


@pytest.mark.parametrize("build", BUILDS)
def test_an_answer_is_clamped_on_the_wire_to_what_the_money_buys(build: str) -> None:
    with serving(fill(4_000)) as provider:
        model = BUILDS[build](provider).bind(max_tokens=4_000)
        report = Governed(Budget(usd="0.01", landing_reserve=0)).run(lambda: model.invoke("Who?"))
        (call,) = report.model_calls
        limit = provider.requests[0].request.max_output_tokens
        assert limit is not None
        assert limit < 4_000
        assert call.output_limit == call.granted == limit
        assert call.output_tokens == limit
        assert report.cost_nanos == provider.bill_nanos
        assert 9_500_000 <= provider.bill_nanos <= 10_000_000 or "anthropic" in build


@pytest.mark.parametrize("setting", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("given", [None, 300])
def test_a_limit_reaches_the_wire_once_whatever_its_name(setting: str, given: int | None) -> None:
    with serving(fill(4_000)) as provider:
        options: dict[str, Any] = {} if given is None else {setting: given}
        model = budgeted_model(openai_model(provider, **options))
        report = Governed(Budget(usd="0.002", landing_reserve=0)).run(lambda: model.invoke("Who?"))
        body = provider.requests[0].request.body
        assert len({"max_tokens", "max_completion_tokens"} & set(body)) == 1
        assert report.model_calls[0].output_limit == provider.requests[0].request.max_output_tokens
        assert provider.bill_nanos <= 2_000_000


# -- caches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", ["openai", "anthropic", "litellm"])
def test_a_hit_of_the_llm_cache_costs_nothing(build: str, provider: LocalProvider) -> None:
    model = BUILDS[build](provider)
    set_llm_cache(InMemoryCache())
    try:
        report = Governed().run(lambda: [model.invoke("Who?") for _ in range(5)])
    finally:
        set_llm_cache(None)
    assert len(provider.requests) == 1
    assert report.cost_nanos == provider.bill_nanos


def test_what_the_provider_has_cached_is_charged_at_its_own_rate() -> None:
    with serving(fixed("Rex", output_tokens=2), prompt_cache=True) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=100))
        report = Governed().run(lambda: [model.invoke("hello " * 3_000) for _ in range(3)])
        assert report.cost_nanos == provider.bill_nanos
        assert [call.usage.get("cache_read", 0) > 0 for call in report.model_calls] == [False, True, True]
