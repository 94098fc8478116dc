"""The local provider seen by the real OpenAI client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall, fill, fixed

HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
CALL: Any = {"id": "call_a", "type": "function", "function": {"name": "search", "arguments": "{}"}}


def client_of(provider: LocalProvider, **settings: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.base_url, api_key="sk-local", **({"max_retries": 0} | settings))


def chat(client: openai.OpenAI | openai.AsyncOpenAI, **settings: Any) -> Any:
    create: Any = client.chat.completions.create
    return create(**({"model": "gpt-4o", "messages": HELLO} | settings))


def async_client_of(provider: LocalProvider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-local", max_retries=0)


@pytest.fixture
def filling() -> Iterator[LocalProvider]:
    with LocalProvider(fill(100)) as provider:
        yield provider


def test_a_plain_answer_carries_its_usage() -> None:
    with LocalProvider(fixed("The answer.", input_tokens=8_000, output_tokens=16_000)) as provider:
        with client_of(provider) as client:
            answer = chat(client)
        assert answer.choices[0].message.content == "The answer."
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (8_000, 16_000)
        assert provider.bill_usd == Decimal("0.18")
        assert provider.bill_nanos == 180_000_000


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_the_output_limit_is_kept(filling: LocalProvider, limit: str) -> None:
    with client_of(filling) as client:
        answer = chat(client, **{limit: 10})
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == " tok" * 10
    assert answer.usage.completion_tokens == 10


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_stream_reports_usage_only_if_asked(include_usage: bool) -> None:
    text = "Many words come one after the other, äöü."
    with LocalProvider(fixed(text)) as provider:
        with (
            client_of(provider) as client,
            chat(client, stream=True, stream_options={"include_usage": include_usage}) as stream,
        ):
            chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
        assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [11] * include_usage


@pytest.mark.parametrize("stream", [True, False])
def test_tool_calls_arrive_whole(stream: bool) -> None:
    calls = [ToolCall("search", {"query": "budget"}), ToolCall("search", {"query": "ledger"}, id="mine")]
    with LocalProvider([Reply(tool_calls=calls)]) as provider, client_of(provider) as client:
        if stream:
            with client.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=TOOLS) as events:
                message: Any = events.get_final_completion().choices[0].message
        else:
            message = chat(client, tools=TOOLS).choices[0].message
    assert [call.id for call in message.tool_calls] == ["call_1_1", "mine"]
    assert [call.function.arguments for call in message.tool_calls] == ['{"query": "budget"}', '{"query": "ledger"}']


def test_a_forced_tool_is_called() -> None:
    tool = {"name": "note", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}
    with LocalProvider(fixed("Remember.")) as provider, client_of(provider) as client:
        answer: Any = chat(
            client,
            tools=[{"type": "function", "function": tool}],
            tool_choice={"type": "function", "function": {"name": "note"}},
        )
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"text": "Remember."}'


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "assistant", "tool_calls": [CALL]}, {"role": "user", "content": "x"}],
        [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_a", "content": "orphan"}],
        [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_a", "content": "1"},
            {"role": "tool", "tool_call_id": "call_a", "content": "2"},
        ],
        [{"role": "narrator", "content": "x"}],
        [{"content": "x"}],
    ],
    ids=["empty", "no result at the end", "no result in between", "orphan", "second result", "role", "no role"],
)
def test_a_history_no_provider_accepts_is_rejected_and_free(filling: LocalProvider, messages: list[Any]) -> None:
    with client_of(filling) as client, pytest.raises(openai.BadRequestError) as rejection:
        chat(client, messages=messages)
    assert rejection.value.type == "invalid_request_error"
    assert filling.bill_nanos == 0
    assert [(record.status, record.outcome) for record in filling.requests] == [(400, "refused")]


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"max_tokens": 1, "max_completion_tokens": 1}, {"n": 2}])
def test_impossible_settings_are_rejected(filling: LocalProvider, settings: dict[str, Any]) -> None:
    with client_of(filling) as client, pytest.raises(openai.BadRequestError):
        chat(client, **settings)


def test_a_body_that_is_no_json_object_is_rejected(filling: LocalProvider) -> None:
    with client_of(filling) as client:
        for body in (b"{", b"[]", b'{"model": "gpt-4o", "messages": [{"role": "assistant", "tool_calls": [{}]}]}'):
            with pytest.raises(openai.BadRequestError):
                client.post("/chat/completions", cast_to=object, content=body)


def test_a_model_without_a_price_does_not_exist(filling: LocalProvider) -> None:
    with client_of(filling) as client, pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-99", messages=HELLO)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError)],
)
def test_scripted_errors_are_free(status: int, error: type[openai.APIStatusError]) -> None:
    with LocalProvider([Reply(status=status)]) as provider, client_of(provider) as client:
        with pytest.raises(error):
            chat(client)
        assert provider.bill_nanos == 0


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateways_error_is_billed_since_the_model_may_have_run(status: int) -> None:
    with LocalProvider([Reply("lost", status=status)]) as provider, client_of(provider) as client:
        with pytest.raises(openai.InternalServerError):
            chat(client)
        assert provider.bill_nanos > 0


def test_a_client_that_retries_gets_the_next_reply() -> None:
    script = [Reply(status=429, headers={"retry-after-ms": "1"}), Reply("At last.")]
    with LocalProvider(script) as provider, client_of(provider, max_retries=1) as client:
        answer = chat(client)
        assert answer.choices[0].message.content == "At last."
        assert [record.status for record in provider.requests] == [429, 200]


@pytest.mark.parametrize("reply", [Reply("x", reset=True), Reply("x", cut_after=0), Reply("a b c", cut_after=2)])
def test_a_broken_connection_is_billed_in_full(reply: Reply) -> None:
    with LocalProvider([reply]) as provider, client_of(provider) as client:
        with pytest.raises(openai.APIConnectionError):
            chat(client)
        assert provider.bill_nanos > 0


def test_a_stream_cut_by_the_provider_ends_in_an_error() -> None:
    received: list[str | None] = []
    with LocalProvider([Reply("one two three four", cut_after=3)]) as provider, client_of(provider) as client:
        with (
            chat(client, stream=True) as stream,
            pytest.raises(Exception, match=r"incomplete chunked read|Connection error"),
        ):
            received.extend(chunk.choices[0].delta.content for chunk in stream)
        assert provider.requests[0].outcome == "cut"
    assert received == ["", "one", " two"]


def test_a_hanging_provider_runs_into_the_clients_timeout() -> None:
    with LocalProvider([Reply("x", hang=True)]) as provider, client_of(provider, timeout=0.2) as client:
        with pytest.raises(openai.APITimeoutError):
            chat(client)
        assert provider.bill_nanos > 0


def test_an_abandoned_stream_is_billed_in_full(filling: LocalProvider) -> None:
    filling.gate.close()

    async def abandon() -> None:
        async with async_client_of(filling) as client:
            call = asyncio.create_task(chat(client, stream=True))
            await asyncio.to_thread(filling.gate.wait_for, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(abandon())
    assert filling.requests[0].usage.output_tokens == 100
    assert filling.bill_usd == Decimal(filling.requests[0].usage.input_tokens * 2500 + 100 * 10_000) / 10**9


async def test_fifty_concurrent_requests_are_all_billed(filling: LocalProvider) -> None:
    filling.gate.close()
    async with async_client_of(filling) as client:
        calls = [asyncio.create_task(chat(client, max_tokens=5)) for _ in range(50)]
        await asyncio.to_thread(filling.gate.wait_for, 50)
        assert len(filling.requests) == 50
        filling.gate.open()
        answers = await asyncio.gather(*calls)
    usages = [answer.usage for answer in answers if answer.usage]
    assert len(usages) == 50
    assert filling.bill_nanos == sum(usage.prompt_tokens * 2500 + usage.completion_tokens * 10_000 for usage in usages)
    assert {record.request.number for record in filling.requests} == set(range(1, 51))


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_embeddings_depend_on_the_text_alone(filling: LocalProvider, encoding: Any) -> None:
    with client_of(filling) as client:
        answer = client.embeddings.create(
            model="text-embedding-3-small", input=["one", "two", "one"], encoding_format=encoding
        )
        by_ids = client.embeddings.create(model="text-embedding-3-small", input=[[1, 2, 3], [4]])
    first, second, third = (entry.embedding for entry in answer.data)
    assert first == third != second
    assert by_ids.usage.prompt_tokens == 4
    assert filling.bill_usd == Decimal(answer.usage.prompt_tokens + 4) * Decimal("0.02") / 10**6


def test_the_models_are_those_with_a_price(filling: LocalProvider) -> None:
    with client_of(filling) as client:
        assert "gpt-4o-mini" in [model.id for model in client.models.list()]


def test_json_answers_have_the_schema_asked_for() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}}},
    }
    with LocalProvider(fixed("Ann")) as provider, client_of(provider) as client:
        answer = chat(
            client,
            response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": schema}},
        )
        any_object = chat(client, response_format={"type": "json_object"})
    assert answer.choices[0].message.content == '{"name": "Ann", "tags": ["a"]}'
    assert any_object.choices[0].message.content == '{"text": "Ann"}'


def test_responses_plain_and_streamed_are_the_same() -> None:
    calls = [ToolCall("search", {"query": "x"}, id="call_x")]
    reply = Reply("Look it up.", calls, input_tokens=2_000, cached_tokens=1_024, output_tokens=30, reasoning_tokens=20)
    with LocalProvider([reply, reply]) as provider, client_of(provider) as client:
        plain = client.responses.create(model="gpt-4o", input="Hello", instructions="Be brief.")
        with client.responses.stream(model="gpt-4o", input="Hello", instructions="Be brief.") as stream:
            list(stream)
            streamed = stream.get_final_response()
        assert provider.requests[0].request.system == "Be brief."
    assert plain.output_text == streamed.output_text == "Look it up."
    for response in (plain, streamed):
        assert response.usage is not None
        assert response.usage.input_tokens_details.cached_tokens == 1_024
        assert response.usage.output_tokens_details.reasoning_tokens == 20
        assert response.output[1].to_dict()["call_id"] == "call_x"


def test_responses_keep_the_output_limit_and_check_the_history(filling: LocalProvider) -> None:
    call: Any = {"type": "function_call", "call_id": "c", "name": "search", "arguments": "{}"}
    result: Any = {"type": "function_call_output", "call_id": "c", "output": "found"}
    with client_of(filling) as client:
        cut = client.responses.create(
            model="gpt-4o", input=[{"role": "user", "content": "x"}, call, result], max_output_tokens=16
        )
        for history in ([call], [result]):
            with pytest.raises(openai.BadRequestError):
                client.responses.create(model="gpt-4o", input=history)
    assert cut.status == "incomplete"
    assert cut.usage is not None
    assert cut.usage.output_tokens == 16


def test_a_failing_policy_is_heard_though_the_client_only_sees_a_500() -> None:
    def broken(request: Request) -> Reply:
        raise LookupError(f"nothing for request {request.number}")

    provider = LocalProvider(broken)
    with (
        pytest.raises(LookupError, match="nothing for request 1"),
        provider,
        client_of(provider) as client,
        pytest.raises(openai.InternalServerError),
    ):
        chat(client)
    assert provider.bill_nanos == 0


@pytest.mark.parametrize(
    "reply", [Reply("one two"), Reply("no", status=500), Reply("x", reset=True), Reply(cut_after=0)]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_has_its_answer_finds_the_outcome_in_the_bill(reply: Reply, stream: bool) -> None:
    """Many times over: a provider that books after it has sent is late only now and then."""
    times = 30
    with LocalProvider([reply] * times) as provider, client_of(provider) as client:
        for _ in range(times):
            try:
                answer = chat(client, stream=stream)
                if stream:
                    list(answer)
            except (openai.APIError, httpx.HTTPError):
                pass
            assert provider.requests[-1].finished is not None
    assert {record.outcome for record in provider.requests} <= {"answered", "refused", "cut"}
