"""Where no summary is to be had, or is cut off: the run goes on with the shorter history, and the books are right."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from budgeted_agents import Budget
from budgeted_agents.integrations.langchain.pruning.overflow import HEADING
from budgeted_agents.testing import Reply, Request
from tests.langchain.summing_up import (
    ASK,
    BUDGET,
    CAP,
    SAYS,
    STEPS,
    agent,
    answered,
    ask_once,
    assert_all_fit,
    is_summary,
    looks_up,
    mini,
    summaries,
    two_tiers,
)
from tests.langgraph.support import serving, thread


@pytest.mark.parametrize("ending", ["land", "suspend", "raise"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_summary_that_is_refused_ends_no_run(ending: Any, is_async: bool) -> None:
    with serving(looks_up()) as provider:
        refusing = mini(usd="0.000001", on_exhausted=ending)
        app, config = agent(two_tiers(provider), [BUDGET, refusing]).compile(), thread(f"refused {ending} {is_async}")
        state = asyncio.run(app.ainvoke(ASK, config)) if is_async else app.invoke(ASK, config)
        report = app.spend(config)
        assert state["messages"][-1].text == "Done."
        assert len(provider.requests) == len(answered(provider)) == STEPS + 1
        assert not report.landing
        assert 1 <= len(report.refusals) <= 4
        assert all("cannot cover a summary of earlier turns by gpt-4o-mini" in text for text in report.refusals)
        assert report.cost_nanos == provider.bill_nanos
        assert_all_fit(provider)


FAILURES = {
    "unbilled": (Reply("busy", status=503), "released"),
    "unknown": (Reply("gateway", status=502), "presumed"),
    "cut": (Reply("half", cut_after=1), "presumed"),
    "empty": (Reply("", output_tokens=5), "settled"),
    "white": (Reply(" \n", output_tokens=5), "settled"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_summary_that_fails_ends_no_run_and_is_charged(failure: str, is_async: bool) -> None:
    reply, outcome = FAILURES[failure]
    with serving(looks_up(summary=lambda request: reply)) as provider:
        app, config = agent(two_tiers(provider)).compile(), thread(f"{failure} {is_async}")
        state = asyncio.run(app.ainvoke(ASK, config)) if is_async else app.invoke(ASK, config)
        report = app.spend(config)
        assert state["messages"][-1].text == "Done."
        assert {call.outcome for call in summaries(report)} == {outcome}
        assert 1 <= len(summaries(report)) <= 4
        assert len(report.model_calls) == len(provider.requests)
        assert report.cost_nanos >= provider.bill_nanos
        assert report.presumed_usd or report.cost_nanos == provider.bill_nanos
        assert not report.refusals
        assert max(record.usage.input_tokens for record in provider.requests) <= CAP


def test_an_earlier_summary_stays_where_the_next_one_fails() -> None:
    replies = iter([Reply(SAYS)])
    with serving(looks_up(summary=lambda request: next(replies, Reply("busy", status=503)))) as provider:
        app, config = agent(two_tiers(provider)).compile(), thread("the next one fails")
        app.invoke(ASK, config)
        assert {call.outcome for call in summaries(app.spend(config))} == {"settled", "released"}
        assert answered(provider)[-1].messages[1].text == f"{HEADING}{SAYS}"
        assert max(record.usage.input_tokens for record in provider.requests) <= CAP


def test_a_summary_is_shortened_to_what_the_money_buys() -> None:
    with serving(looks_up(summary=lambda request: Reply(SAYS * 20))) as provider:
        budgets = [BUDGET.model_copy(update={"min_output_tokens": 8}), mini(tokens=1_050, min_output_tokens=8)]
        app, config = agent(two_tiers(provider), budgets).compile(), thread("shortened")
        app.invoke(ASK, config)
        (made,) = summaries(app.spend(config))
        (asked,) = [record.request for record in provider.requests if is_summary(record.request)]
        assert made.output_limit == asked.max_output_tokens == made.output_tokens
        assert 8 <= made.output_tokens < 65
        assert app.spend(config).cost_nanos == provider.bill_nanos


@pytest.mark.parametrize("is_async", [False, True])
def test_a_landing_sums_nothing_up(is_async: bool) -> None:
    with serving(lambda request: Reply("landed")) as provider:
        budget = Budget(usd="0.0006", landing_reserve=0.95, context_tokens=CAP, context_overflow="summarize")
        app, config = ask_once(two_tiers(provider), budget), thread(f"landing {is_async}")
        call = AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": "c"}])
        words = [HumanMessage("word " * 60) for _ in range(12)]
        history: Any = {"messages": [words[0], call, ToolMessage("tree", tool_call_id="c"), *words]}
        state = asyncio.run(app.ainvoke(history, config)) if is_async else app.invoke(history, config)
        assert state["messages"][-1].text == "landed"
        assert [is_summary(record.request) for record in provider.requests] == [False]
        assert app.spend(config).landing == "Landed by the default finalizer"


def test_a_summary_never_takes_what_the_call_itself_needs() -> None:
    with serving(lambda request: Reply("fine")) as provider:
        budget = Budget(model_calls=3, context_tokens=CAP, context_overflow="summarize", landing_reserve=0)
        app, config = ask_once(two_tiers(provider), budget), thread("the last one")
        for number in range(3):
            history: Any = {"messages": [HumanMessage(f"{number} " + "word " * 60) for _ in range(12)]}
            assert app.invoke(history, config)["messages"][-1].text == "fine"
            made = [is_summary(record.request) for record in provider.requests]
            if len(made) == 3:
                break
        assert made == [True, False, False]
        assert not app.spend(config).landing


# -- on an event loop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_an_event_loop_goes_on_while_a_summary_is_made(is_cancelled: bool) -> None:
    loop, arrived, answer = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def summary(request: Request) -> Reply:
        loop.call_soon_threadsafe(arrived.set)
        assert answer.wait(10), "the event loop was blocked"
        return Reply(SAYS)

    with serving(looks_up(summary=summary)) as provider:
        app, config = agent(two_tiers(provider)).compile(), thread(f"on a loop {is_cancelled}")
        run = asyncio.create_task(app.ainvoke(ASK, config))
        await arrived.wait()
        if is_cancelled:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        answer.set()
        if not is_cancelled:
            await run
        report = app.spend(config)
        made = summaries(report)
        assert made[0].outcome == ("presumed" if is_cancelled else "settled")
        assert report.in_flight == 0
        assert report.cost_nanos >= provider.bill_nanos
        assert all(balance.held == 0 for balance in report.balances)
