"""The provider's bill: exact, billed on arrival, and readable from other processes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import openai
import pytest

from budgeted_agents.errors import InvalidPrice, InvalidUsage
from budgeted_agents.testing import LIST_PRICES, LocalProvider, ModelPrice, Reply, Request, fill, fixed
from budgeted_agents.testing.bill import PromptCache, cost_usd
from budgeted_agents.testing.conversation import Message, TokenUsage

HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]


def client_of(provider: LocalProvider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.base_url, api_key="sk-local", max_retries=0)


@pytest.mark.parametrize("model", sorted(LIST_PRICES))
def test_the_list_prices_are_those_of_litellms_list(model: str) -> None:
    package = find_spec("litellm")  # found, not imported: that would take seconds
    assert package is not None
    assert package.origin is not None
    price_list = Path(package.origin).with_name("model_prices_and_context_window_backup.json").read_bytes()
    listed = json.loads(price_list, parse_float=Decimal)[model]
    price = LIST_PRICES[model]
    assert price.input == listed["input_cost_per_token"] * 10**6
    assert price.output == listed["output_cost_per_token"] * 10**6
    assert price.cached == listed.get("cache_read_input_token_cost", listed["input_cost_per_token"]) * 10**6
    assert price.cache_write == (
        listed["cache_creation_input_token_cost"] * 10**6 if "cache_creation_input_token_cost" in listed else None
    )


def test_every_class_of_tokens_has_its_rate() -> None:
    usage = TokenUsage(input_tokens=10_000, cached_tokens=7_000, cache_write_tokens=2_000, output_tokens=1_000)
    price = ModelPrice(Decimal(3), Decimal("0.30"), Decimal(15), Decimal("3.75"))
    assert cost_usd(usage, price) == Decimal("0.003") + Decimal("0.0021") + Decimal("0.0075") + Decimal("0.015")


def test_cached_tokens_of_a_reply_are_billed_at_their_rate() -> None:
    reply = Reply("x", input_tokens=8_000, cached_tokens=7_000, output_tokens=1_000)
    with LocalProvider([reply]) as provider, client_of(provider) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 7_000
        assert provider.bill_usd == Decimal("0.02125")


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once_for_each_request() -> None:
    prices = {"tiny": (Decimal("0.0001"), Decimal("0.0001"), Decimal("0.0001"))}
    replies = [Reply("x", input_tokens=1, output_tokens=2)] * 2
    with LocalProvider(replies, prices=prices) as provider, client_of(provider) as client:
        for _ in replies:
            client.chat.completions.create(model="tiny", messages=HELLO)
        assert provider.bill_usd == Decimal("0.0000000006")
        assert provider.bill_nanos == 2


def test_usage_left_out_of_the_answer_is_billed_all_the_same() -> None:
    with LocalProvider([Reply("x", omit_usage=True)]) as provider, client_of(provider) as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).usage is None
        assert provider.bill_nanos > 0


@pytest.mark.parametrize(("bill_mode", "output_tokens"), [("arrival", 1_000), ("sent", 1_000 * 3 / 36)])
def test_a_stream_left_half_way(bill_mode: Any, output_tokens: float) -> None:
    """Of 36 events (the role, 32 pieces, the finish, usage and the end) three are sent, then the client leaves."""
    reply = Reply(" tok" * 1_000, input_tokens=100, output_tokens=1_000, cut_after=3, hang=True)
    with LocalProvider([reply], bill_mode=bill_mode) as provider, client_of(provider) as client:
        with client.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        ) as stream:
            assert next(stream).choices[0].delta.content == ""
        provider.bill.wait_for_outcomes(1)
        assert provider.requests[0].outcome == "client_gone"
        assert provider.requests[0].nanos == pytest.approx(100 * 2_500 + output_tokens * 10_000, abs=1)


def test_in_sent_mode_a_request_held_at_the_gate_owes_its_input_only() -> None:
    with LocalProvider(fill(50, input_tokens=10), bill_mode="sent") as provider, client_of(provider) as client:
        provider.gate.close()
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.2).chat.completions.create(model="gpt-4o", messages=HELLO)
        assert provider.bill_nanos == 10 * 2_500
        provider.gate.open()
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert provider.requests[1].nanos == 10 * 2_500 + 50 * 10_000


def test_prompt_caching_counts_the_beginning_that_an_earlier_request_shares() -> None:
    long_text = "word " * 2_000
    with LocalProvider(fixed("ok"), prompt_cache=True) as provider, client_of(provider) as client:
        for model, question in [("gpt-4o", "one"), ("gpt-4o", "two"), ("gpt-4o-mini", "one")]:
            messages: list[Any] = [{"role": "system", "content": long_text}, {"role": "user", "content": question}]
            client.chat.completions.create(model=model, messages=messages)
        cached = [record.usage.cached_tokens for record in provider.requests]
    assert cached == [0, 2_432, 0]  # 2,500 tokens and 4 for the message, in whole steps of 128


def test_a_short_beginning_is_not_cached() -> None:
    cache, request = PromptCache(), Request("/", "gpt-4o", (Message("user", "short"),))
    assert [cache.look_up(request, len) for _ in range(2)] == [0, 0]


def test_another_process_spends_on_the_same_bill_and_reads_it() -> None:
    worker = (
        "import json, sys, urllib.request\n"
        "body = json.dumps({'model': 'gpt-4o', 'messages': [{'role': 'user', 'content': 'hi'}], 'max_tokens': 7})\n"
        "urllib.request.urlopen(sys.argv[1] + '/v1/chat/completions', body.encode()).close()\n"
    )
    with LocalProvider(fill(input_tokens=100)) as provider:
        workers = [subprocess.Popen([sys.executable, "-c", worker, provider.url]) for _ in range(3)]
        assert [process.wait() for process in workers] == [0, 0, 0]
        with urllib.request.urlopen(f"{provider.url}/bill") as answer:
            bill = json.load(answer)
        assert bill["nanos"] == provider.bill_nanos == 3 * (100 * 2_500 + 7 * 10_000)
        assert [request["usage"]["output_tokens"] for request in bill["requests"]] == [7, 7, 7]


def test_it_can_be_started_by_hand() -> None:
    command = [sys.executable, "-m", "budgeted_agents.testing.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(f"{url}/models") as answer:
            assert "gpt-4o" in [model["id"] for model in json.load(answer)["data"]]
        process.terminate()


@pytest.mark.parametrize("rate", [Decimal(-1), Decimal("nan"), 2.5, "2.5"])
def test_a_price_has_to_be_a_decimal(rate: Any) -> None:
    with pytest.raises(InvalidPrice, match="gpt-x") as refusal:
        LocalProvider(prices={"gpt-x": (Decimal(1), Decimal(1), rate)})
    assert refusal.value.field == "output"


@pytest.mark.parametrize(
    "tokens",
    [{"input_tokens": -1}, {"input_tokens": 1, "cached_tokens": 2}, {"output_tokens": 1, "reasoning_tokens": 2}],
)
def test_impossible_token_counts_are_refused(tokens: dict[str, int]) -> None:
    with pytest.raises(InvalidUsage):
        TokenUsage(**tokens)


def test_a_closed_provider_lets_go_of_everything() -> None:
    provider = LocalProvider(fixed("x"))
    with provider:
        url = provider.url
    provider.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)
