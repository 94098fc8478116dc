"""Calls that fail, are cut off, or lie about what they used: what the provider may bill is never charged too little."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, BaseMessage

from budgeted_agents import Budget, BudgetExceeded, budgeted_model
from budgeted_agents.integrations.langchain.calls.answers import said
from budgeted_agents.integrations.litellm import chat_model
from budgeted_agents.reports import SpendReport
from budgeted_agents.testing import LocalProvider, Reply, Request, fixed
from tests.langchain.support import Governed, anthropic_model, gemini_model, litellm_model
from tests.langgraph.support import openai_model, serving

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")

MODELS: dict[str, Any] = {
    "openai": lambda provider, **options: budgeted_model(openai_model(provider, max_tokens=100, **options)),
    "anthropic": lambda provider, **options: budgeted_model(anthropic_model(provider, **options)),
    "litellm": litellm_model,
}
EVERY = pytest.mark.parametrize("build", MODELS)


def outcomes(report: SpendReport) -> list[str]:
    return [call.outcome for call in report.model_calls]


def asking(model: Any) -> Any:
    def ask() -> None:
        with suppress(Exception):
            model.invoke("Who?")

    return ask


# -- retries ------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("status", [429, 500, 503])
def test_no_sdk_retries_by_itself(build: str, status: int) -> None:
    with serving(lambda request: Reply("no", status=status, headers={"retry-after": "0"})) as provider:
        report = Governed().run(asking(MODELS[build](provider, max_retries=0)))
        assert len(provider.requests) == 1
        assert outcomes(report) == ["released"]
        assert report.cost_nanos == 0


PLAIN: dict[str, Any] = {
    "openai": lambda provider: openai_model(provider, max_tokens=100),
    "anthropic": anthropic_model,
    "litellm": lambda provider: chat_model(
        "openai/gpt-4o", api_base=provider.base_url, api_key="sk-local", max_tokens=100
    ),
}


@pytest.mark.parametrize("build", PLAIN)
def test_the_retries_a_class_makes_unasked_are_made_as_well_and_each_is_reserved(build: str) -> None:
    with serving(lambda request: Reply("no", status=503, headers={"retry-after": "0"})) as provider:
        asking(PLAIN[build](provider))()
        attempts = len(provider.requests)
        report = Governed().run(asking(budgeted_model(PLAIN[build](provider))))
        assert len(provider.requests) - attempts == attempts > 1
        assert outcomes(report) == ["released"] * attempts
        assert report.cost_nanos == 0


def test_what_gemini_calls_retries_are_attempts() -> None:
    with serving(lambda request: Reply("no", status=503, headers={"retry-after": "0"})) as provider:
        Governed().run(asking(budgeted_model(gemini_model(provider, max_retries=1))))
        assert len(provider.requests) == 1


def test_retries_turned_off_below_litellm_stay_off() -> None:
    with serving(lambda request: Reply("no", status=503, headers={"retry-after": "0"})) as provider:
        Governed().run(asking(litellm_model(provider, model_kwargs={"max_retries": 0})))
        assert len(provider.requests) == 1


@EVERY
@pytest.mark.parametrize("is_async", [False, True])
def test_retries_that_were_asked_for_are_made_and_each_is_reserved(build: str, is_async: bool) -> None:
    busy = Reply("no", status=429, headers={"retry-after": "0"})
    with serving([busy, busy, Reply("Rex", output_tokens=2)]) as provider:
        model = MODELS[build](provider, max_retries=2)
        report = (
            Governed().arun(lambda: model.ainvoke("Who?")) if is_async else Governed().run(lambda: model.invoke("Who?"))
        )
        assert len(provider.requests) == 3
        assert outcomes(report) == ["released", "released", "settled"]
        assert report.cost_nanos == provider.bill_nanos


@EVERY
@pytest.mark.parametrize("is_async", [False, True])
def test_the_pause_between_attempts_is_what_the_provider_asks_for(build: str, is_async: bool) -> None:
    asked = 0.7  # seconds; longer than the pause that is made unasked
    times: list[float] = []

    def reply(request: Request) -> Reply:
        times.append(time.monotonic())
        return (
            Reply("no", status=429, headers={"retry-after-ms": f"{asked * 1000:.0f}"}) if len(times) == 1 else Reply()
        )

    with serving(reply) as provider:
        model = MODELS[build](provider, max_retries=1)
        if is_async:
            Governed().arun(lambda: model.ainvoke("Who?"))
        else:
            Governed().run(lambda: model.invoke("Who?"))
    first, second = times
    assert second - first >= asked


@EVERY
def test_a_call_that_the_provider_wants_much_later_is_not_tried_again(build: str) -> None:
    with serving(lambda request: Reply("no", status=429, headers={"retry-after": "3600"})) as provider:
        report = Governed().run(asking(MODELS[build](provider, max_retries=2)))
        assert len(provider.requests) == 1
        assert outcomes(report) == ["released"]


@pytest.mark.parametrize("build", ["openai", "anthropic"])
def test_a_stream_is_tried_again_only_before_its_first_piece(build: str) -> None:
    busy = Reply("no", status=503, headers={"retry-after": "0"})
    with serving([busy, Reply("one two three four", output_tokens=4, cut_after=3), Reply("never asked")]) as provider:
        model = MODELS[build](provider, max_retries=2)

        def work() -> None:
            with suppress(Exception):
                list(model.stream("Who?"))

        report = Governed().run(work)
        assert len(provider.requests) == 2
        assert outcomes(report) == ["released", "presumed"]
        assert report.cost_nanos >= provider.bill_nanos


@EVERY
def test_a_refused_connection_costs_nothing(build: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = closed.getsockname()[1]
        gone: Any = type("Gone", (), {"base_url": f"http://127.0.0.1:{port}/v1", "url": f"http://127.0.0.1:{port}"})
        report = Governed().run(asking(MODELS[build](gone)))
        assert set(outcomes(report)) == {"released"}
        assert report.cost_nanos == 0


@EVERY
@pytest.mark.parametrize("failure", [Reply(reset=True), Reply("x" * 400, cut_after=1), Reply(status=502)], ids=str)
def test_what_may_have_been_billed_is_presumed(build: str, failure: Reply) -> None:
    with serving(lambda request: failure) as provider:
        report = Governed().run(asking(MODELS[build](provider)))
        assert len(provider.requests) == 1
        assert outcomes(report) == ["presumed"]
        assert report.cost_nanos >= provider.bill_nanos
        assert report.presumed_usd == report.cost_usd > 0


@EVERY
def test_a_timeout_is_presumed(build: str) -> None:
    with serving(lambda request: Reply(hang=True)) as provider:
        name = "request_timeout" if build == "litellm" else "timeout"
        report = Governed().run(asking(MODELS[build](provider, **{name: 0.2})))
        assert len(provider.requests) == 1
        assert outcomes(report) == ["presumed"]
        assert report.cost_nanos >= provider.bill_nanos


@pytest.mark.parametrize("governed", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_an_earlier_failure_does_not_make_a_later_one_free(governed: bool, is_async: bool) -> None:
    """A call made while an unbilled failure is handled has that failure in its context, and is another matter."""

    def reply(request: Request) -> Reply:
        return Reply("no", status=429) if request.number == 1 else Reply(reset=True)

    with serving(reply) as provider:
        plain = openai_model(provider, max_tokens=100, max_retries=0)
        model = budgeted_model(plain) if governed else plain

        async def ask() -> Any:
            return await model.ainvoke("Who?") if is_async else model.invoke("Who?")

        async def work() -> None:
            try:
                await ask()
            except Exception:  # noqa: BLE001 -- what such nodes do
                with suppress(Exception):
                    await ask()

        report = Governed().arun(work)
        assert outcomes(report) == ["released", "presumed"]
        assert report.cost_nanos >= provider.bill_nanos > 0


# -- leaving early ------------------------------------------------------------------------------------------------


@pytest.fixture
def held() -> Iterator[LocalProvider]:
    """A provider that bills at once and answers when told to."""
    with serving(fixed("one two three", output_tokens=100)) as provider:
        provider.gate.close()
        yield provider


@pytest.mark.parametrize(("governed", "streams"), [(True, False), (True, True), (False, True)])
def test_a_cancelled_call_is_presumed(governed: bool, streams: bool, held: LocalProvider) -> None:
    plain = openai_model(held, max_tokens=100)
    model = budgeted_model(plain) if governed else plain

    async def ask() -> None:
        if streams:
            async for _ in model.astream("Who?"):
                pass
        else:
            await model.ainvoke("Who?")

    async def work() -> None:
        task = asyncio.create_task(ask())
        await asyncio.to_thread(held.gate.wait_for, 1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    report = Governed().arun(work)
    assert outcomes(report) == ["presumed"]
    assert report.cost_nanos >= held.bill_nanos > 0
    assert all(balance.held == 0 for balance in report.balances)


def test_a_cancelled_call_of_a_plain_model_stays_held_until_it_is_presumed(held: LocalProvider) -> None:
    """langchain-core tells nobody that a plain ``ainvoke`` was cancelled: the hold stays, and expires as presumed."""
    model = openai_model(held, max_tokens=100)

    async def work() -> None:
        task = asyncio.create_task(model.ainvoke("Who?"))
        await asyncio.to_thread(held.gate.wait_for, 1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    report = Governed().arun(work)
    assert all(balance.spent + balance.held >= held.bill_nanos > 0 for balance in report.balances)


def test_a_synchronous_call_does_not_keep_the_event_loop_waiting(held: LocalProvider) -> None:
    """The calls whose money it would wait for could not end."""
    patient = Budget(usd="0.03", landing_reserve=0, max_wait=20)
    model = budgeted_model(openai_model(held))

    async def work() -> None:
        task = asyncio.create_task(model.ainvoke("Who?"))
        await asyncio.to_thread(held.gate.wait_for, 1)
        begun = time.monotonic()
        with pytest.raises(BudgetExceeded):
            model.invoke("Who?")
        assert time.monotonic() - begun < patient.max_wait
        held.gate.open()
        await task

    assert outcomes(Governed(patient).arun(work)) == ["settled"]


LONG = fixed("word " * 100, output_tokens=100)


@pytest.mark.parametrize("governed", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("build", [partial(openai_model, max_tokens=100), anthropic_model, gemini_model])
def test_an_abandoned_stream_is_presumed(build: Any, governed: bool, is_async: bool) -> None:
    """Also where the provider reports its usage as it goes."""
    with serving(LONG) as provider:
        plain = build(provider)
        model = budgeted_model(plain) if governed else plain

        def leave() -> None:
            stream: Any = model.stream("Who?")
            for chunk in stream:
                if chunk.content:
                    break
            stream.close()

        async def aleave() -> None:
            stream: Any = model.astream("Who?")
            async for chunk in stream:
                if chunk.content:
                    break
            await stream.aclose()

        report = Governed().arun(aleave) if is_async else Governed().run(leave)
        assert outcomes(report) == ["presumed"]
        assert report.cost_nanos >= provider.bill_nanos > 0


STREAMING: dict[str, Any] = {
    "openai": partial(openai_model, max_tokens=100),
    "openai responses": partial(openai_model, max_tokens=100, use_responses_api=True),
    "anthropic": anthropic_model,
    "gemini": gemini_model,
}


@pytest.mark.parametrize("build", STREAMING)
def test_a_stream_that_is_left_at_its_very_end_is_settled(build: str) -> None:
    with serving(LONG) as provider:
        model = budgeted_model(STREAMING[build](provider))

        def leave() -> None:
            stream: Any = model.stream("Who?")
            while not next(stream).usage_metadata:
                continue
            stream.close()

        report = Governed().run(leave)
        assert outcomes(report) == ["presumed" if build == "gemini" else "settled"]


@pytest.mark.parametrize(
    ("reported", "used"),
    [([(10, 1), (0, 2), (0, 3)], (10, 6)), ([(10, 1), (10, 3), (10, 6)], (10, 6)), ([(0, 0), (10, 6)], (10, 6))],
    ids=["since the last chunk", "since the beginning", "at the end"],
)
def test_what_chunks_report_is_added_up_once(reported: list[tuple[int, int]], used: tuple[int, int]) -> None:
    chunks: list[BaseMessage] = [
        AIMessageChunk(content="x", usage_metadata={"input_tokens": i, "output_tokens": o, "total_tokens": i + o})
        for i, o in reported
    ]
    usage, _ = said(chunks)
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"]) == used


def test_an_exception_of_a_listener_in_mid_stream_leaves_nothing_held() -> None:
    class Failing(BaseCallbackHandler):
        raise_error = True

        def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("enough")

    with serving(LONG) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=100))

        def work() -> None:
            with suppress(RuntimeError):
                list(model.stream("Who?", {"callbacks": [Failing()]}))

        report = Governed().run(work)
        assert report.in_flight == 0
        assert report.cost_nanos >= provider.bill_nanos > 0


# -- usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("governed", [False, True])
@pytest.mark.parametrize("build", ["openai"])  # LiteLLM counts by itself where a provider is silent
def test_usage_that_is_missing_is_estimated_and_flagged(build: str, governed: bool, streams: bool) -> None:
    text = "All about trees and owls. " * 8
    with serving(lambda request: Reply(text, omit_usage=True)) as provider:
        model: Any = MODELS[build](provider)
        if not governed:
            model = model._tiers[0].given
        report = Governed().run(lambda: list(model.stream("Who?")) if streams else model.invoke("Who?"))
        (call,) = report.model_calls
        assert call.outcome == "settled"
        assert "estimated" in call.flags
        assert provider.bill_nanos <= report.cost_nanos <= call.reserved


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": 2, "total_tokens": -3},
        {"prompt_tokens": 10**15, "completion_tokens": 2, "total_tokens": 10**15 + 2},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 5, "completion_tokens": -2, "total_tokens": 3},
    ],
    ids=["negative input", "absurd", "nothing", "negative output"],
)
def test_usage_that_cannot_be_is_estimated_and_flagged(usage: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from budgeted_agents.testing import wire_openai

    monkeypatch.setattr(wire_openai, "_wire_usage", lambda given: usage)  # a provider that lies
    with serving(fixed("Rex", output_tokens=2)) as provider:
        model = budgeted_model(openai_model(provider, max_tokens=100))
        report = Governed().run(lambda: model.invoke("Who?"))
        (call,) = report.model_calls
        assert "estimated" in call.flags
        assert provider.bill_nanos <= report.cost_nanos <= call.reserved


def test_an_answer_beyond_what_was_reserved_is_booked_in_full_and_flagged() -> None:
    """The provider counts more input than anyone could have known."""
    with serving(lambda request: Reply("Rex", input_tokens=50_000, output_tokens=2)) as provider:
        events: list[Any] = []
        model = budgeted_model(openai_model(provider, max_tokens=100))
        report = Governed(Budget(usd=1), listeners=(events.append,)).run(lambda: model.invoke("Who?"))
        assert report.cost_nanos == provider.bill_nanos
        assert "overrun" in [event.kind for event in events]
