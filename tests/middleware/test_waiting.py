"""While other runs hold the money of a budget, an agent's call waits for it, and nothing else waits with it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent

from budgeted_agents import Budget, BudgetMiddleware
from budgeted_agents.testing import fixed
from tests.middleware.support import ASK, assert_within, openai_model, serving, thread

ONE_CALL = Budget(usd="0.03", landing_reserve=0)
"""A call without an output limit holds all of it, and spends next to nothing."""

SOON = 0.05
"""Seconds after which the first call is answered, if the event loop is free to see to it."""


@pytest.mark.parametrize("ledger", ["memory", "sqlite"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_waits_for_what_another_one_may_give_back(ledger: str, is_async: bool, tmp_path: Any) -> None:
    url = "memory://" if ledger == "memory" else f"sqlite:///{tmp_path / 'spend.db'}"
    with serving(fixed("Done.", output_tokens=10)) as provider:
        guard = BudgetMiddleware(budget=ONE_CALL, ledger=url)
        app: Any = create_agent(openai_model(provider), middleware=[guard])
        provider.gate.close()

        async def in_tasks() -> list[Any]:
            first = asyncio.create_task(app.ainvoke(ASK, thread()))
            await asyncio.to_thread(provider.gate.wait_for, 1)
            asyncio.get_running_loop().call_later(SOON, provider.gate.open)
            return list(await asyncio.gather(first, app.ainvoke(ASK, thread())))

        def in_threads() -> list[Any]:
            with ThreadPoolExecutor(2) as threads:
                first = threads.submit(app.invoke, ASK, thread())
                provider.gate.wait_for(1)
                second = threads.submit(app.invoke, ASK, thread())
                provider.gate.open()
                return [first.result(), second.result()]

        states = asyncio.run(in_tasks()) if is_async else in_threads()
        assert [state["messages"][-1].text for state in states] == ["Done.", "Done."]
        report = guard.spend(thread())
        assert not report.refusals
        assert [call.outcome for call in report.model_calls] == ["settled", "settled"]
        assert_within(report, provider)
        guard.meter.ledger.close()
