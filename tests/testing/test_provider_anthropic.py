"""The local provider seen by the real Anthropic client."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import pytest

from budgeted_agents.testing import LocalProvider, Reply, ToolCall, fill

HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]
CALL: Any = {"type": "tool_use", "id": "toolu_a", "name": "search", "input": {}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_a", "content": "found"}
USER: Any = {"role": "user", "content": "x"}


def client_of(provider: LocalProvider) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=provider.url, api_key="sk-local", max_retries=0)


@pytest.fixture
def filling() -> Iterator[LocalProvider]:
    with LocalProvider(fill(100)) as provider:
        yield provider


REPLY = Reply(
    "Let me look.",
    [ToolCall("search", {"query": "budget"}, id="toolu_1")],
    input_tokens=10_000,
    cached_tokens=7_000,
    cache_write_tokens=2_000,
    output_tokens=1_000,
)


@pytest.mark.parametrize("stream", [True, False])
def test_text_tools_and_usage_arrive_whole(stream: bool) -> None:
    with LocalProvider([REPLY]) as provider, client_of(provider) as client:
        settings: Any = {"model": "claude-haiku-4-5", "max_tokens": 2_000, "messages": HELLO}
        if stream:
            with client.messages.stream(**settings) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(**settings)
        text, call = (block.to_dict() for block in message.content)
        assert (text["text"], call["input"], call["id"]) == ("Let me look.", {"query": "budget"}, "toolu_1")
        assert message.stop_reason == "tool_use"
        usage = message.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (
            1000,
            7000,
            2000,
        )
        assert usage.output_tokens == 1_000
        assert provider.bill_usd == Decimal("0.0092")  # 1,000 x $1 + 7,000 x $0.10 + 2,000 x $1.25 + 1,000 x $5


def test_the_output_limit_is_kept(filling: LocalProvider) -> None:
    with client_of(filling) as client:
        message = client.messages.create(model="claude-haiku-4-5", max_tokens=10, messages=HELLO, system="Be brief.")
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 10)
    assert filling.requests[0].request.system == "Be brief."


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "x"}],
        [USER, {"role": "assistant", "content": [CALL]}],
        [USER, {"role": "assistant", "content": [CALL]}, USER],
        [
            USER,
            {"role": "assistant", "content": [CALL]},
            {"role": "user", "content": [{"type": "text", "text": "x"}, RESULT]},
        ],
        [{"role": "user", "content": [RESULT]}],
        [{"role": "user", "content": ""}],
        [{"role": "system", "content": "x"}],
    ],
    ids=["empty", "assistant first", "no result", "no result next", "text before result", "orphan", "no text", "role"],
)
def test_a_history_no_provider_accepts_is_rejected_and_free(filling: LocalProvider, messages: list[Any]) -> None:
    with client_of(filling) as client, pytest.raises(anthropic.BadRequestError) as rejection:
        client.messages.create(model="claude-haiku-4-5", max_tokens=10, messages=messages)
    assert rejection.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]
    assert filling.bill_nanos == 0


def test_a_history_with_results_is_accepted(filling: LocalProvider) -> None:
    content = [RESULT, {"type": "text", "text": "go on"}]
    with client_of(filling) as client:
        client.messages.create(
            model="claude-haiku-4-5",
            max_tokens=10,
            messages=[USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": content}],
        )
    assert filling.requests[0].request.tool_results == ("found",)


def test_an_output_limit_is_required(filling: LocalProvider) -> None:
    with client_of(filling) as client, pytest.raises(anthropic.BadRequestError):
        client.post("/v1/messages", cast_to=object, body={"model": "claude-haiku-4-5", "messages": HELLO})


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")])
def test_errors_have_the_providers_shape(status: int, kind: str) -> None:
    with LocalProvider([Reply(status=status)]) as provider, client_of(provider) as client:
        with pytest.raises(anthropic.APIStatusError) as error:
            client.messages.create(model="claude-haiku-4-5", max_tokens=10, messages=HELLO)
        assert error.value.status_code == status
        assert error.value.body["error"]["type"] == kind  # type: ignore[index]
        assert provider.bill_nanos == 0


def test_a_stream_cut_by_the_provider_ends_in_an_error() -> None:
    with LocalProvider([Reply("one two", cut_after=3)]) as provider, client_of(provider) as client:
        with (
            client.messages.stream(model="claude-haiku-4-5", max_tokens=10, messages=HELLO) as stream,
            pytest.raises(Exception, match="incomplete chunked read"),
        ):
            stream.until_done()
        assert provider.bill_nanos > 0
