"""Histories over the cap on context whose oldest turns are summed up: on the wire, in the ledger, and at what cost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph

from budgeted_agents import Budget, BudgetMiddleware, CostCallback, budgeted, budgeted_model
from budgeted_agents.integrations.langchain.pruning.overflow import HEADING
from budgeted_agents.integrations.langchain.pruning.summarizing import PURPOSE
from budgeted_agents.testing import LocalProvider, Reply
from tests.langchain.summing_up import (
    ASK,
    BUDGET,
    CAP,
    RUNS,
    SAYS,
    STEPS,
    Chat,
    agent,
    answered,
    ask_once,
    assert_all_fit,
    assert_summed_up,
    collected,
    is_summary,
    look_up,
    looks_up,
    mini,
    summaries,
    two_tiers,
)
from tests.langchain.support import Governed, anthropic_model, gemini_model, litellm_model
from tests.langgraph.support import assert_exact, openai_model, serving, thread


def by_graph(provider: LocalProvider) -> tuple[Any, Any]:
    app = agent(two_tiers(provider)).compile()
    return app, app.spend


def by_wrapping(provider: LocalProvider) -> tuple[Any, Any]:
    app: Any = budgeted(agent(two_tiers(provider), build=StateGraph(Chat)).compile(), budget=BUDGET)
    return app, app.spend


def by_middleware(provider: LocalProvider) -> tuple[Any, Any]:
    guard = BudgetMiddleware(budget=BUDGET, models=[openai_model(provider, "gpt-4o-mini", max_tokens=100)])
    model = openai_model(provider, max_tokens=100)
    return create_agent(model, [look_up], system_prompt="Be brief.", middleware=[guard]), guard.spend


@pytest.mark.parametrize("way", RUNS)
@pytest.mark.parametrize("build", [by_graph, by_wrapping, by_middleware])
def test_a_long_run_goes_on_behind_a_few_summaries(build: Any, way: str) -> None:
    with serving(looks_up()) as provider:
        app, spend = build(provider)
        config = thread(f"{build.__name__} {way}")
        seen = RUNS[way](app, config)
        assert_summed_up(spend(config), provider)
        assert len(answered(provider)) == STEPS + 1
        if "stream" in way:
            assert SAYS not in "".join(chunk.text for chunk, _ in seen if isinstance(chunk, AIMessage))
            assert "Done." in "".join(chunk.text for chunk, _ in seen if isinstance(chunk, AIMessage))


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_nothing_that_a_summary_says_is_written_down(way: str, tmp_path: Path) -> None:
    with serving(looks_up()) as provider:
        app = agent(two_tiers(provider), ledger=f"sqlite:///{tmp_path / 'spend.db'}").compile()
        config = thread(f"written down {way}")
        RUNS[way](app, config)
        assert_summed_up(app.spend(config), provider)
        app.settings.meter.ledger.close()
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert PURPOSE.encode() in written
        assert SAYS.encode() not in written


# -- who else sees it -----------------------------------------------------------------------------------------------


class Trace(BaseCallbackHandler):
    """Model calls as a tracer sees them: by name, with what they were made in."""

    def __init__(self) -> None:
        self.started: list[tuple[str, Any]] = []
        self.answers: list[str] = []

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, parent_run_id: Any = None, name: str = "", **kwargs: Any
    ) -> None:
        self.started.append((name, parent_run_id))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.answers.append(response.generations[0][0].text)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("streams", [False, True])
def test_tracers_and_other_meters_see_a_summary_beside_the_call_it_is_made_for(is_async: bool, streams: bool) -> None:
    """A callback on a ledger of its own keeps its own books, to the nano-dollar."""
    trace, watcher = Trace(), CostCallback(ledger="memory://")
    with serving(looks_up()) as provider:
        app, name = agent(two_tiers(provider)).compile(), f"watched {is_async} {streams}"
        config: Any = {**thread(name), "callbacks": [trace, watcher]}
        RUNS[f"{'a' if is_async else ''}{'stream' if streams else 'invoke'}"](app, config)
        assert_summed_up(app.spend(config), provider)
        assert watcher.spend_of(name).cost_nanos == provider.bill_nanos
        assert len(watcher.spend_of(name).model_calls) == len(provider.requests) == len(trace.started)
        assert trace.answers.count(SAYS) == len(summaries(app.spend(config)))
        places = [place for place, (called, _) in enumerate(trace.started) if called == "summary_of_earlier_turns"]
        assert len(places) == trace.answers.count(SAYS)
        assert all(trace.started[place][1] == trace.started[place - 1][1] is not None for place in places)


@pytest.mark.parametrize("is_async", [False, True])
def test_another_meter_that_refuses_a_summary_ends_no_run(is_async: bool) -> None:
    watcher = CostCallback(budget=mini(usd="0.000001"), ledger="memory://")
    with serving(looks_up()) as provider:
        app = agent(two_tiers(provider)).compile()
        config: Any = {**thread(f"another refuses {is_async}"), "callbacks": [watcher]}
        state = asyncio.run(app.ainvoke(ASK, config)) if is_async else app.invoke(ASK, config)
        assert state["messages"][-1].text == "Done."
        assert len(provider.requests) == len(answered(provider)) == STEPS + 1
        assert_exact(app.spend(config), provider)
        assert not app.spend(config).landing


async def test_no_event_streams_a_summary() -> None:
    with serving(looks_up()) as provider:
        app, config = agent(two_tiers(provider)).compile(), thread("events")
        events = await collected(app.astream_events(ASK, config, version="v2"))
        chunks = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
        assert SAYS not in "".join(chunks)
        assert "Done." in "".join(chunks)
        assert_summed_up(app.spend(config), provider)


def test_a_summary_is_not_taken_from_the_llm_cache() -> None:
    history = [HumanMessage("word " * 60) for _ in range(12)]
    with serving(lambda request: Reply(SAYS if is_summary(request) else "fine")) as provider:
        app = ask_once(two_tiers(provider))
        set_llm_cache(InMemoryCache())
        try:
            for name in ("cached", "not cached"):  # the call itself ends otherwise, so that it is in no cache
                app.invoke({"messages": [*history, HumanMessage(name)]}, thread(name))
        finally:
            set_llm_cache(None)
        assert [is_summary(record.request) for record in provider.requests] == [True, False] * 2


# -- a summary is made once -----------------------------------------------------------------------------------------


def test_a_session_that_is_loaded_anew_goes_on_behind_its_summary() -> None:
    """What comes out of a checkpoint equals what went in, and is not the same."""
    saver, config = InMemorySaver(), thread("loaded anew")
    with serving(looks_up(16)) as provider:
        first = agent(two_tiers(provider)).compile(checkpointer=saver)
        first.invoke(ASK, config)
        assert len(summaries(first.spend(config))) == 1
        again = agent(two_tiers(provider)).compile(checkpointer=saver)
        again.invoke({"messages": [HumanMessage("And?")]}, config)
        assert not summaries(again.spend(config))
        assert answered(provider)[-1].messages[1].text == f"{HEADING}{SAYS}"
        assert_all_fit(provider)


def test_another_session_and_a_history_that_begins_otherwise_have_summaries_of_their_own() -> None:
    history = [HumanMessage(f"{number}: " + "word " * 60) for number in range(12)]
    with serving(lambda request: Reply(SAYS if is_summary(request) else "fine")) as provider:
        app = ask_once(two_tiers(provider))
        for name, messages, made in (
            ("one", history, 1),
            ("one", [*history, AIMessage("fine"), HumanMessage("Go on.")], 1),
            ("other", history, 2),
            ("one", [HumanMessage("Otherwise."), *history], 3),
        ):
            app.invoke({"messages": messages}, thread(name))
            assert len([r for r in provider.requests if is_summary(r.request)]) == made
        assert_all_fit(provider)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_is_tried_again_is_not_summed_up_again(is_async: bool) -> None:
    busy = Reply("busy", status=503, headers={"retry-after": "0"})
    script = iter([busy, busy, Reply("fine")])
    with serving(lambda request: Reply("") if is_summary(request) else next(script)) as provider:
        model = budgeted_model(openai_model(provider, max_retries=2, max_tokens=50))
        app, config = ask_once(model), thread(f"tried again {is_async}")
        history: Any = {"messages": [HumanMessage("word " * 100) for _ in range(12)]}
        asyncio.run(app.ainvoke(history, config)) if is_async else app.invoke(history, config)
        report = app.spend(config)
        assert [call.outcome for call in report.model_calls] == ["settled", "released", "released", "settled"]
        assert len(summaries(report)) == 1
        assert_exact(report, provider)


def test_a_history_far_over_the_cap_takes_one_summary_under_the_cap() -> None:
    with serving(lambda request: Reply(SAYS if is_summary(request) else "fine")) as provider:
        app, config = ask_once(two_tiers(provider)), thread("far over")
        words = [HumanMessage("word " * (20 * number)) for number in range(100)]
        app.invoke({"messages": [*words, HumanMessage("Go on.")]}, config)
        assert [is_summary(record.request) for record in provider.requests] == [True, False]
        assert answered(provider)[0].messages[0].text == f"{HEADING}{SAYS}"
        assert_all_fit(provider)


def test_a_request_that_is_longer_than_all_else_is_summed_up_as_well() -> None:
    """Trimming puts the user's latest message back, and would have to refuse here."""
    with serving(looks_up(12)) as provider:
        app, config = agent(two_tiers(provider)).compile(), thread("long request")
        app.invoke({"messages": [HumanMessage("word " * 400)]}, config)
        report = app.spend(config)
        assert not report.refusals
        assert len(answered(provider)) == 13
        assert 1 <= len(summaries(report)) <= 3
        assert_all_fit(provider)


# -- who asks for it ------------------------------------------------------------------------------------------------

LOOSE = Budget(name="loose", context_tokens=100_000, context_overflow="summarize")
TIGHT = Budget(name="tight", context_tokens=CAP, context_overflow="summarize")
TRIM = Budget(name="trim", context_tokens=CAP)
WATCHES = Budget(name="watches", context_tokens=10, context_overflow="summarize", mode="shadow")
MONEY = Budget(usd="1.00")


@pytest.mark.parametrize(
    ("budgets", "sums_up"),
    [
        ([MONEY, LOOSE, TRIM], False),
        ([MONEY, TRIM, WATCHES], False),
        ([MONEY, TIGHT], True),
        ([MONEY, TRIM, TIGHT], True),
        ([MONEY, TRIM.model_copy(update={"context_tokens": 100_000}), TIGHT], True),
    ],
    ids=[
        "a looser one asks",
        "one that watches asks",
        "the only one asks",
        "one of two equals asks",
        "the tighter asks",
    ],
)
def test_the_tightest_cap_decides(budgets: list[Budget], sums_up: bool, request: pytest.FixtureRequest) -> None:
    with serving(looks_up(14)) as provider:
        app, config = agent(two_tiers(provider), budgets).compile(), thread(request.node.name)
        app.invoke(ASK, config)
        assert bool(summaries(app.spend(config))) == sums_up
        assert_exact(app.spend(config), provider)
        assert_all_fit(provider)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_callback_asks_for_it_too(is_async: bool) -> None:
    with serving(lambda request: Reply(SAYS if is_summary(request) else "fine")) as provider:
        guard = CostCallback(budget=BUDGET)
        model, config = two_tiers(provider), {"callbacks": [guard]}
        history = [HumanMessage("word " * 60) for _ in range(12)]
        asyncio.run(model.ainvoke(history, config)) if is_async else model.invoke(history, config)
        assert len(summaries(guard.spend)) == 1
        assert_exact(guard.spend, provider)
        assert_all_fit(provider)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("build", [anthropic_model, gemini_model, litellm_model])
def test_every_kind_of_model_sums_up(build: Any, is_async: bool) -> None:
    history = [HumanMessage("word " * 60) for _ in range(12)]
    with serving(lambda request: Reply(SAYS if is_summary(request) else "fine")) as provider:
        model = build(provider)
        model = budgeted_model(model)
        governed = Governed(BUDGET)
        report = (
            governed.arun(lambda: model.ainvoke(history)) if is_async else governed.run(lambda: model.invoke(history))
        )
        assert len(summaries(report)) == 1
        assert provider.requests[0].request.max_output_tokens == report.model_calls[0].granted < 100
        assert report.cost_nanos == provider.bill_nanos
        assert_all_fit(provider)


def test_the_cheapest_tier_sums_up_without_tools() -> None:
    with serving(looks_up()) as provider:
        tiers = [openai_model(provider, name, max_tokens=100) for name in ("gpt-4o-mini", "gpt-4o", "gpt-4.1-nano")]
        app, config = agent(budgeted_model(*tiers)).compile(), thread("cheapest")
        app.invoke(ASK, config)
        assert {call.model_used for call in summaries(app.spend(config))} == {"gpt-4.1-nano"}
        assert not app.spend(config).downgrades
        asked = [record.request for record in provider.requests if is_summary(record.request)]
        assert {request.tool_names for request in asked} == {()}
