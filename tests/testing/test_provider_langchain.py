"""The local provider seen by LangChain's chat models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from budgeted_agents.testing import LocalProvider, Reply, ToolCall, fixed

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

REPLY = Reply(
    "Look here.", [ToolCall("search", {"query": "x"})], input_tokens=3_000, cached_tokens=2_048, output_tokens=40
)
SEARCH = {"name": "search", "description": "Searches.", "parameters": {"type": "object", "properties": {}}}


class Pet(BaseModel):
    """An animal."""

    name: str


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int
    pets: list[Pet]
    friend: Pet | None


def openai_model(provider: LocalProvider, **settings: Any) -> BaseChatModel:
    return ChatOpenAI(
        model="gpt-4o",
        base_url=provider.base_url,
        api_key=SecretStr("sk-local"),
        max_retries=0,
        stream_usage=True,  # off by default as soon as a base_url is set
        **settings,
    )


def openai_responses_model(provider: LocalProvider) -> BaseChatModel:
    return openai_model(provider, use_responses_api=True)


def anthropic_model(provider: LocalProvider) -> BaseChatModel:
    return ChatAnthropic(
        model_name="claude-haiku-4-5",
        base_url=provider.url,
        api_key=SecretStr("sk-local"),
        max_retries=0,
        max_tokens_to_sample=100,
        timeout=None,
        stop=None,
    )


def gemini_model(provider: LocalProvider) -> BaseChatModel:
    return ChatGoogleGenerativeAI(
        model="gemini-3.5-flash-lite", base_url=provider.url, api_key=SecretStr("local"), max_retries=0
    )


MODELS = pytest.mark.parametrize("build", [openai_model, openai_responses_model, anthropic_model, gemini_model])


@MODELS
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_every_way_of_calling_gives_the_same_message(build: Any, way: str) -> None:
    with LocalProvider([REPLY]) as provider:
        model = build(provider).bind_tools([SEARCH])
        message = asyncio.run(called(model, way))
        assert provider.requests[0].request.stream == way.endswith("stream")
    assert message.text == "Look here."
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("search", {"query": "x"})]
    assert message.usage_metadata["input_tokens"] == 3_000
    assert message.usage_metadata["output_tokens"] == 40
    assert message.usage_metadata["input_token_details"]["cache_read"] == 2_048


async def called(model: Any, way: str) -> Any:
    match way:
        case "invoke":
            return await asyncio.to_thread(model.invoke, "Hello")
        case "ainvoke":
            return await model.ainvoke("Hello")
        case "stream":
            return await asyncio.to_thread(lambda: sum_of(list(model.stream("Hello"))))
    return sum_of([chunk async for chunk in model.astream("Hello")])


def sum_of(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    first, *others = chunks
    return first.__add__(*[others]) if others else first


@MODELS
def test_structured_output_is_an_object_of_the_class(build: Any) -> None:
    with LocalProvider(fixed("Ann")) as provider:
        person = build(provider).with_structured_output(Person).invoke("Who?")
    assert person == Person(name="Ann", age=0, pets=[Pet(name="Ann")], friend=Pet(name="Ann"))
