"""The shapes of real chains under a callback: each call is counted once, at the right price."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.documents import Document
from langchain_core.language_models import BaseLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import Generation, LLMResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings
from pydantic import BaseModel

from budgeted_agents import Budget, BudgetExceeded, CostCallback, budgeted_embeddings
from budgeted_agents.errors import InvalidGraph
from budgeted_agents.testing import LocalProvider, Reply, Request
from tests.attach.support import (
    PACKAGES,
    Heard,
    anthropic,
    assert_balanced,
    embeddings_of,
    litellm,
    openai,
    serving,
    spend_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients of event loops that have ended

ANSWER = Reply("Oaks and elms.", output_tokens=40)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as provider:
        yield provider


@pytest.mark.parametrize("streamed", [False, True])
@PACKAGES
def test_each_packages_model_is_priced_as_it_is_billed(make: Any, streamed: bool) -> None:
    reply = Reply("Oaks.", output_tokens=40, cached_tokens=3, reasoning_tokens=0 if make is anthropic else 30)
    with serving([reply, reply]) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        for _ in range(2):
            model, config = make(provider), {"callbacks": [callback]}
            list(model.stream("Which trees?", config)) if streamed else model.invoke("Which trees?", config)
        [call, _] = spend_of(callback, provider, 2).model_calls
        assert call.usage["cache_read"] == 3
        assert "estimated" not in call.flags


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # litellm's own
@pytest.mark.parametrize("streamed", [False, True])
def test_litellms_model_is_priced_as_it_is_billed(provider: LocalProvider, streamed: bool) -> None:
    callback, model = CostCallback(budget=Budget(usd="1.00")), litellm(provider)
    config: Any = {"callbacks": [callback]}
    list(model.stream("Which trees?", config)) if streamed else model.invoke("Which trees?", config)
    spend_of(callback, provider, 1)


def test_a_handler_on_the_model_sees_its_calls(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"))
    chain = RunnableLambda(lambda text: text) | openai(provider, callbacks=[callback])
    chain.invoke("Hi")
    chain.invoke("Hi", {"callbacks": [callback]})  # the same handler twice is one handler
    spend_of(callback, provider, 2)


def test_a_retrieval_chain_with_its_embeddings(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"), session="s")
    plain = embeddings_of(provider)
    embeddings = budgeted_embeddings(plain, callback)
    assert type(embeddings).__name__ == "OpenAIEmbeddings"
    assert isinstance(embeddings, OpenAIEmbeddings)
    store = InMemoryVectorStore.from_documents([Document("Oaks bear acorns."), Document("Elms do not.")], embeddings)
    prompt = ChatPromptTemplate.from_template("{context}\n{question}")
    inputs = {"context": store.as_retriever(), "question": RunnablePassthrough()}
    chain = inputs | prompt | openai(provider) | StrOutputParser()
    chain.invoke("Which bear acorns?", {"callbacks": [callback]})
    asyncio.run(chain.ainvoke("Which bear acorns?", {"callbacks": [callback]}))
    calls = callback.spend.model_calls
    assert [call.model_used for call in calls] == [record.request.model for record in provider.requests]
    assert [call.model_used for call in calls].count("text-embedding-3-small") == 3
    assert all(call.input_tokens > 0 and call.cost > 0 for call in calls)
    assert_balanced(callback.spend, callback.spend.cost_nanos)


def test_embeddings_that_do_not_fit_are_not_made(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="0.0000001"))
    with pytest.raises(BudgetExceeded, match="text-embedding-3-small"):
        budgeted_embeddings(embeddings_of(provider), callback).embed_query("Oaks bear acorns.")
    assert not provider.requests
    assert len(budgeted_embeddings(embeddings_of(provider)).embed_query("Without a budget they just run.")) > 0


def test_only_embeddings_can_be_wrapped_as_such(provider: LocalProvider) -> None:
    wrong: Any = openai(provider)
    with pytest.raises(InvalidGraph, match="are no embeddings"):
        budgeted_embeddings(wrong)


def test_an_answer_from_the_llm_cache_costs_nothing_and_is_counted_as_a_hit(provider: LocalProvider) -> None:
    callback, model = CostCallback(budget=Budget(usd="1.00")), openai(provider, cache=InMemoryCache())
    for _ in range(3):
        model.invoke("Which trees?", {"callbacks": [callback]})
    report = callback.spend
    assert len(provider.requests) == 1
    assert report.cost_nanos == provider.bill_nanos
    assert [call.flags for call in report.model_calls] == [(), ("cache_hit",), ("cache_hit",)]


def test_a_fallback_is_charged_and_so_is_what_failed_before_it() -> None:
    with serving([Reply("down", status=503), ANSWER]) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        model = openai(provider).with_fallbacks([openai(provider, "gpt-4o-mini")])
        model.invoke("Which trees?", {"callbacks": [callback]})
        report = callback.spend
        assert [(call.model_used, call.outcome) for call in report.model_calls] == [
            ("gpt-4o", "released"),
            ("gpt-4o-mini", "settled"),
        ]
        assert report.cost_nanos == provider.bill_nanos
        assert_balanced(report, provider.bill_nanos)


def test_a_fallback_that_fits_is_called_where_the_first_choice_does_not(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="0.0005"))
    model = openai(provider).with_fallbacks([openai(provider, "gpt-4o-mini")])
    model.invoke("Which trees?", {"callbacks": [callback]})
    [call] = spend_of(callback, provider, 1).model_calls
    assert call.model_used == "gpt-4o-mini"


def test_retries_of_a_refused_call_fail_at_once_and_are_noted_once(provider: LocalProvider) -> None:
    heard = Heard()
    callback = CostCallback(budget=Budget(usd="0.0005"), listeners=[heard])
    model = openai(provider).with_retry(stop_after_attempt=4, wait_exponential_jitter=False)
    with pytest.raises(BudgetExceeded):
        model.invoke("Which trees?", {"callbacks": [callback]})
    assert len(callback.spend.refusals) == len(heard.of("refusal")) == 1
    assert not provider.requests


def test_retries_of_a_failed_call_are_each_charged_what_they_cost() -> None:
    with serving([Reply("slow down", status=429), Reply("gateway", status=502), ANSWER]) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        model = openai(provider).with_retry(stop_after_attempt=4, wait_exponential_jitter=False)
        model.invoke("Which trees?", {"callbacks": [callback]})
        outcomes = [call.outcome for call in callback.spend.model_calls]
        assert outcomes == ["released", "presumed", "settled"]
        assert callback.spend.cost_nanos >= provider.bill_nanos


class Tree(BaseModel):
    """A tree."""

    name: str


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_is_counted_with_its_schema(provider: LocalProvider, method: Any) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"))
    model = openai(provider).with_structured_output(Tree, method=method, include_raw=True)
    model.invoke("Name a tree.", {"callbacks": [callback]})
    spend_of(callback, provider, 1)


def test_a_tool_that_calls_a_model_is_charged_for_it(provider: LocalProvider) -> None:
    @tool
    def ask(question: str) -> str:
        """Asks a model."""
        return openai(provider).invoke(question).text

    callback = CostCallback(budget=Budget(usd="1.00", tool_calls=1))
    ask.invoke({"question": "Which trees?"}, {"callbacks": [callback]})
    assert len(spend_of(callback, provider, 1).tool_calls) == 1
    with pytest.raises(BudgetExceeded, match="ask"):
        ask.invoke({"question": "Which trees?"}, {"callbacks": [callback]})
    assert len(provider.requests) == 1


def test_several_answers_at_once_are_held_for(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="0.002"))  # enough for one answer of 100 tokens, not for three
    openai(provider).invoke("Which trees?", {"callbacks": [callback]})
    with pytest.raises(BudgetExceeded):
        openai(provider, n=3).invoke("Which trees?", {"callbacks": [callback]})
    spend_of(callback, provider, 1)


def test_a_call_that_cannot_fit_says_what_to_do(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="0.05"))
    with pytest.raises(BudgetExceeded, match=r"up to 16,384 tokens.*set max_tokens.*budgeted_model") as refused:
        openai(provider, max_tokens=None).invoke("Which trees?", {"callbacks": [callback]})
    assert refused.value.budget == "session"
    assert refused.value.needed > refused.value.available


def test_what_brings_no_usage_is_estimated_flagged_and_raises_an_alarm() -> None:
    with serving([Reply("Oaks and elms.", output_tokens=5, omit_usage=True)]) as provider:
        heard = Heard()
        callback = CostCallback(budget=Budget(usd="1.00"), listeners=[heard])
        openai(provider, stream_usage=False).invoke("Which trees?", {"callbacks": [callback]})
        [call] = callback.spend.model_calls
        assert "estimated" in call.flags
        assert call.cost >= provider.bill_nanos
        assert len(heard.of("unmetered")) == 1


def test_a_model_without_a_price_is_refused_under_a_budget_and_flagged_without_one() -> None:
    from langchain_core.language_models import FakeListChatModel

    heard, model = Heard(), FakeListChatModel(responses=["Oaks."])
    metering = CostCallback(listeners=[heard])
    model.invoke("Which trees?", {"callbacks": [metering]})
    assert "unpriced" in metering.spend.model_calls[0].flags
    assert any("No price is known" in event.message for event in heard.of("unmetered"))
    with pytest.raises(LookupError, match="No price is known"):
        model.invoke("Which trees?", {"callbacks": [CostCallback(budget=Budget(usd="1.00"))]})


def test_an_abandoned_stream_is_presumed(provider: LocalProvider) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"))
    stream = openai(provider).stream("Which trees?", {"callbacks": [callback]})
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    [call] = callback.spend.model_calls
    assert (call.outcome, call.error) == ("presumed", "GeneratorExit")
    assert call.cost == call.reserved >= provider.bill_nanos


def test_a_stream_that_runs_past_its_hold_is_cut_and_charged_for_what_came() -> None:
    def rambling(request: Request) -> Reply:
        return Reply(" oak" * 2_000, output_tokens=2_000)

    with serving(rambling, bill_mode="sent") as provider:
        callback = CostCallback(budget=Budget(usd="0.012"), hold="expected")
        model = openai(provider, max_tokens=16_000)
        with pytest.raises(BudgetExceeded, match="cut off in mid-stream"):
            for _ in model.stream("Which trees?", {"callbacks": [callback]}):
                pass
        [call] = callback.spend.model_calls
        assert "cut off in mid-stream" in call.flags
        assert call.output_tokens < 2_000
        assert_balanced(callback.spend, call.cost)


def test_a_stream_longer_than_expected_goes_on_while_more_can_be_held() -> None:
    reply = Reply(" oak" * 3_000, output_tokens=3_000)
    with serving([reply, reply]) as provider:
        callback = CostCallback(budget=Budget(usd="0.20"), hold="expected")
        model = openai(provider, max_tokens=16_000)
        for streamed in (True, False):
            config: Any = {"callbacks": [callback]}
            list(model.stream("Which trees?", config)) if streamed else model.invoke("Which trees?", config)
        streaming, whole = spend_of(callback, provider, 2).model_calls
        assert streaming.flags == ("held for 1,024 of 16,000 output tokens",)
        assert streaming.granted >= 3_000
        assert "overrun" in whole.flags


def test_text_completion_models_are_counted_too() -> None:
    from langchain_core.language_models import FakeListLLM

    callback = CostCallback(budget=Budget(tokens=100_000))
    FakeListLLM(responses=["Oaks and elms."]).batch(["Which trees?", "And which shrubs?"], {"callbacks": [callback]})
    report = callback.spend
    assert len(report.model_calls) == 2
    assert all(call.output_tokens > 0 for call in report.model_calls)


class Completing(BaseLLM):
    """A model that completes texts and says what a whole request used, as those of providers do."""

    model_name: str = "gpt-3.5-turbo-instruct"
    max_tokens: int = 100

    @property
    def _llm_type(self) -> str:
        return "completing"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "max_tokens": self.max_tokens}

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        used = {"prompt_tokens": 10 * len(prompts), "completion_tokens": 40 * len(prompts)}
        used["total_tokens"] = 50 * len(prompts)
        generations = [[Generation(text="Oaks and elms.")] for _ in prompts]
        return LLMResult(generations=generations, llm_output={"token_usage": used, "model_name": self.model_name})


@pytest.mark.parametrize("is_async", [False, True])
def test_prompts_that_go_in_one_request_are_charged_once(is_async: bool) -> None:
    callback = CostCallback(budget=Budget(usd="1.00"))
    model, config = Completing(), RunnableConfig(callbacks=[callback])
    prompts: list[Any] = ["Which trees?", "And which shrubs?", "Where?"]
    for _ in range(2):
        asyncio.run(model.abatch(prompts, config)) if is_async else model.batch(prompts, config)
    model.invoke(prompts[0], config)
    report = callback.spend
    assert sum(call.input_tokens for call in report.model_calls) == 10 * 7
    assert sum(call.output_tokens for call in report.model_calls) == 40 * 7
    assert [call.flags for call in report.model_calls if not call.cost] == [("counted with its batch",)] * 4
    assert not any("estimated" in call.flags for call in report.model_calls)
    assert report.in_flight == 0
