"""What providers really do to plain models: odd usage, outages, time-outs. Nothing is lost, and nothing is made up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from budgeted_agents import Budget, CostCallback, PriceBook
from budgeted_agents.meter.meter import HOLD_TTL
from budgeted_agents.reports import spend_report
from budgeted_agents.testing import Reply
from budgeted_agents.usage import Usage
from tests.attach.support import PACKAGES, Heard, assert_balanced, openai, serving

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForLLMRun

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # clients of event loops that have ended


class Reported(BaseChatModel):
    """Answers with a usage as some package reports it."""

    usage: Any
    name_of_model: str
    provider: str
    answer: Any = "Oaks."

    @property
    def _llm_type(self) -> str:
        return "reported"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {"ls_provider": self.provider, "ls_model_name": self.name_of_model, "ls_max_tokens": 4_000}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = self.answer if isinstance(self.answer, dict) else {"content": self.answer}
        message = AIMessage(**said, usage_metadata=self.usage)
        return ChatResult(generations=[ChatGeneration(message=message)])


USAGES = {
    # langchain-google-genai: thoughts are part of the output, cached content of the input
    "gemini": (
        "google_genai",
        "models/gemini-2.5-flash",
        {
            "input_tokens": 1_000,
            "output_tokens": 300,
            "total_tokens": 1_300,
            "input_token_details": {"cache_read": 400},
            "output_token_details": {"reasoning": 200},
        },
        Usage(input=600, cache_read=400, output=100, reasoning=200),
    ),
    # langchain-openai
    "openai audio": (
        "openai",
        "gpt-4o-audio-preview-2024-12-17",
        {
            "input_tokens": 500,
            "output_tokens": 200,
            "total_tokens": 700,
            "input_token_details": {"audio": 300, "cache_read": 0},
            "output_token_details": {"audio": 150, "reasoning": 0},
        },
        Usage(input=200, audio_input=300, output=50, audio_output=150),
    ),
    # langchain-anthropic: cache writes by lifetime
    "anthropic": (
        "anthropic",
        "claude-haiku-4-5",
        {
            "input_tokens": 2_000,
            "output_tokens": 100,
            "total_tokens": 2_100,
            "input_token_details": {
                "cache_read": 500,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 300,
                "ephemeral_1h_input_tokens": 200,
            },
        },
        Usage(input=1_000, cache_read=500, cache_write_5m=300, cache_write_1h=200, output=100),
    ),
}


@pytest.mark.parametrize("shape", USAGES)
def test_every_class_of_tokens_is_priced_at_its_own_rate(shape: str) -> None:
    provider, name, reported, usage = USAGES[shape]
    callback = CostCallback(budget=Budget(usd="10"))
    Reported(usage=reported, name_of_model=name, provider=provider).invoke("?", {"callbacks": [callback]})
    [call] = callback.spend.model_calls
    assert call.cost == PriceBook.default().price(name.removeprefix("models/"), provider).cost(usage)
    assert call.outcome == "settled"
    assert "estimated" not in call.flags


PICTURE = [
    {"type": "text", "text": "An oak."},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
]


def test_a_picture_is_charged_and_held_as_one_where_the_usage_does_not_say_so() -> None:
    usage = {"input_tokens": 10, "output_tokens": 1_300, "total_tokens": 1_310}
    callback = CostCallback(budget=Budget(usd="10"))
    name = "gemini-2.5-flash-image"
    model = Reported(usage=usage, name_of_model=name, provider="google_genai", answer=PICTURE)
    model.invoke("Draw an oak.", {"callbacks": [callback]})
    [call] = callback.spend.model_calls
    price = PriceBook.default().price(name, "google_genai")
    assert call.cost == price.cost(Usage(input=10, image_output=1_300)) > 5 * price.cost(Usage(input=10, output=1_300))
    assert call.reserved >= price.cost(Usage(input=10, image_output=4_000))


SEARCHES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "anthropic": (
        "anthropic",
        "claude-sonnet-4-5",
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        {"content": [{"type": "server_tool_use", "name": "web_search", "id": "a", "input": {"query": "oaks"}}] * 2},
    ),
    "openai": (
        "openai",
        "gpt-4o-search-preview",
        {"type": "web_search"},
        {
            "content": [
                {"type": "web_search_call", "id": "a", "action": {"type": "search", "query": "oaks"}},
                {"type": "web_search_call", "id": "b", "action": {"type": "open_page", "url": "http://oaks"}},
            ]
        },
    ),
    "openai, the older output": (
        "openai",
        "gpt-4o-search-preview",
        {"type": "web_search_preview"},
        {"content": "Oaks.", "additional_kwargs": {"tool_outputs": [{"type": "web_search_call", "id": "a"}]}},
    ),
    "gemini": (
        "google_genai",
        "gemini-2.5-flash",
        {"google_search": {}},
        {"content": "Oaks.", "response_metadata": {"grounding_metadata": {"web_search_queries": ["oaks", "acorns"]}}},
    ),
}


@pytest.mark.parametrize("where", SEARCHES)
def test_searches_that_the_provider_runs_are_held_for_and_charged(where: str) -> None:
    provider, name, tool, said = SEARCHES[where]
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    callback = CostCallback(budget=Budget(usd="10"))
    model = Reported(usage=usage, name_of_model=name, provider=provider, answer=said)
    model.invoke("Which trees bear acorns?", {"callbacks": [callback]}, tools=[tool])
    [call] = callback.spend.model_calls
    price, times = PriceBook.default().price(name, provider), 2 if where == "anthropic" else 1
    assert call.cost == price.cost(Usage(input=10, output=20)) + price.search_cost(times)
    assert price.search_cost(times) >= 10_000_000
    assert call.cost <= call.reserved
    model.answer = "Oaks."
    own = [{"name": "web_search", "google_search": None}]
    model.invoke("Which trees bear acorns?", {"callbacks": [callback]}, tools=own)
    other = callback.spend.model_calls[1]
    assert other.cost == price.cost(Usage(input=10, output=20))
    assert other.reserved < call.reserved - price.search_cost(times) // 2


def test_searches_without_a_price_are_flagged_and_alarm() -> None:
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    _, _, tool, said = SEARCHES["openai"]
    heard = Heard()
    model = Reported(usage=usage, name_of_model="gpt-4o", provider="openai", answer=said)
    callback = CostCallback(budget=Budget(usd="10"), listeners=[heard])
    model.invoke("Which trees bear acorns?", {"callbacks": [callback]}, tools=[tool])
    [call] = callback.spend.model_calls
    assert call.flags == ("unpriced search",)
    assert call.cost == PriceBook.default().price("gpt-4o").cost(Usage(input=10, output=20))
    [event] = heard.of("unmetered")
    assert "gpt-4o ran 1 web search(es), and its price row has no price for them" in event.message
    assert "Register its search_context_cost_per_query" in event.message
    row = {"gpt-4o": {"search_context_cost_per_query": {"search_context_size_medium": "0.025"}}}
    callback = CostCallback(budget=Budget(usd="10"), listeners=[heard], prices=PriceBook.default().with_overrides(row))
    model.invoke("Which trees bear acorns?", {"callbacks": [callback]}, tools=[tool])
    [priced] = callback.spend.model_calls
    assert (priced.flags, priced.cost) == ((), call.cost + 25_000_000)
    assert len(heard.of("unmetered")) == 1


def test_a_call_at_no_known_price_is_not_told_of_twice() -> None:
    """Where no budget counts money."""
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    heard = Heard()
    model = Reported(usage=usage, name_of_model="house-9", provider="house", answer=SEARCHES["openai"][3])
    callback = CostCallback(budget=Budget(model_calls=3), listeners=[heard])
    model.invoke("Which trees bear acorns?", {"callbacks": [callback]})
    [call] = callback.spend.model_calls
    assert call.flags == ("unpriced",)
    assert len(heard.of("unmetered")) == 1


@pytest.mark.parametrize("usage", [None, {"input_tokens": -5, "output_tokens": 3, "total_tokens": -2}])
def test_usage_that_is_missing_or_absurd_is_estimated_and_alarms(usage: Any) -> None:
    heard = Heard()
    callback = CostCallback(budget=Budget(usd="10"), listeners=[heard])
    model = Reported(usage=None, name_of_model="gpt-4o", provider="openai")
    object.__setattr__(model, "usage", usage)
    try:
        model.invoke("Which trees bear acorns?", {"callbacks": [callback]})
    except ValueError:  # langchain-core itself does not take a negative count
        return
    [call] = callback.spend.model_calls
    assert "estimated" in call.flags
    assert call.cost > 0
    assert len(heard.of("unmetered")) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
@PACKAGES
def test_a_refusal_by_the_provider_is_not_charged(make: Any, status: int) -> None:
    with serving([Reply("no", status=status)]) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        with pytest.raises(Exception, match="no"):
            make(provider).invoke("?", {"callbacks": [callback]})
        assert [call.outcome for call in callback.spend.model_calls] == ["released"]
        assert_balanced(callback.spend, 0)


@pytest.mark.parametrize("failure", [Reply("gateway", status=504), Reply(hang=True), Reply("x", reset=True)])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_failure_that_may_have_been_billed_is_presumed(failure: Reply, is_async: bool) -> None:
    with serving([failure]) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        model, config = openai(provider, timeout=0.5), {"callbacks": [callback]}
        with pytest.raises(Exception, match=r"\w"):
            asyncio.run(model.ainvoke("?", config)) if is_async else model.invoke("?", config)  # type: ignore[arg-type]
        [call] = callback.spend.model_calls
        assert call.outcome == "presumed"
        assert call.cost == call.reserved >= provider.bill_nanos > 0


@PACKAGES
def test_a_stream_that_breaks_off_is_presumed(make: Any) -> None:
    with serving([Reply("Oaks and elms and limes.", output_tokens=50, cut_after=4)]) as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        with pytest.raises(Exception, match=r"\w"):
            list(make(provider).stream("?", {"callbacks": [callback]}))
        [call] = callback.spend.model_calls
        assert call.outcome == "presumed"
        assert call.cost >= provider.bill_nanos
        assert_balanced(callback.spend, call.cost)


def test_what_is_kept_of_cancelled_calls_does_not_grow_forever() -> None:
    """Nobody says that they have ended: the process forgets them, an hour after the ledger has presumed them."""
    from budgeted_agents.integrations.langchain.callbacks import open_calls

    now = [1_000.0]
    callback = CostCallback(budget=Budget(usd="1000", tool_calls=10_000))
    callback.meter = replace(callback.meter, clock=lambda: now[0])
    started = [uuid4() for _ in range(5_000)]
    for run_id in started:
        callback.on_chat_model_start({}, [[HumanMessage("?")]], run_id=run_id, metadata={"ls_model_name": "gpt-4o"})
        callback.on_tool_start({"name": "search"}, "{}", run_id=run_id)
        now[0] += 60
    for calls, hours in ((open_calls.models, 1.25), (open_calls.tools, 24)):
        kept = {run_id.int for run_id in started} & set(calls.ids)
        assert len(kept) <= 2 * 1_024 + hours * 60
        assert {run_id.int for run_id in started[-int(hours * 60) :]} <= kept


def test_a_cancelled_call_stays_held_and_is_presumed_once_its_hold_expires() -> None:
    """langchain-core tells no callback that ``ainvoke`` was cancelled."""
    with serving() as provider:
        callback = CostCallback(budget=Budget(usd="1.00"))
        provider.gate.close()

        async def run() -> None:
            task = asyncio.create_task(openai(provider).ainvoke("?", {"callbacks": [callback]}))
            await asyncio.to_thread(provider.gate.wait_for, 1)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(run())
        report = callback.spend
        assert report.in_flight == 1
        assert sum(balance.held for balance in report.balances) >= provider.bill_nanos > 0
        later = spend_report(callback.meter.ledger, report.session, now=callback.meter.clock() + HOLD_TTL + 1)
        assert [call.outcome for call in later.model_calls] == ["presumed"]
        assert later.cost_nanos >= provider.bill_nanos
