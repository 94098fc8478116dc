"""The agents' examples: their own command line, over real HTTP, with budgets from ample to scarce."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from budgeted_agents import Budget, BudgetMiddleware
from examples import deep_agent, existing_agent
from tests.langgraph.support import openai_model, serving, thread

ASK = {"messages": [("human", "Where is order 17?")]}


@pytest.mark.parametrize(("usd", "calls"), [("0.10", 2), ("0.001", 2)])
def test_the_existing_agent_answers_within_its_budget(
    usd: str, calls: int, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    existing_agent.main(["Where is order 17?", "--usd", usd, "--local", "--ledger", f"sqlite:///{tmp_path}/spend.db"])
    output = capsys.readouterr().out
    assert "arrives on Thursday" in output
    found = re.search(r"(\d+) model calls, 1 tool calls, \$(\S+)", output)
    assert found is not None
    assert int(found[1]) == calls
    assert 0 < Decimal(found[2]) <= Decimal(usd)


def test_the_existing_agent_is_the_same_without_the_line() -> None:
    with serving(existing_agent.support_replies) as provider:
        plain = existing_agent.build_agent(openai_model(provider))
        guard = BudgetMiddleware(budget=Budget(usd="1.00"))
        governed = existing_agent.build_agent(openai_model(provider), [guard])
        answers = [agent.invoke(ASK, thread())["messages"][-1].text for agent in (plain, governed)]
        assert answers[0] == answers[1] == "Order 17 left the warehouse on Monday and arrives on Thursday."


def test_the_deep_agent_answers_from_its_sub_agents(capsys: pytest.CaptureFixture[str]) -> None:
    deep_agent.main(["Compare trains, ferries and planes.", "--usd", "0.50", "--local"])
    output = capsys.readouterr().out
    assert all(fact in output for fact in deep_agent.FACTS.values())
    assert "8 model calls" in output
    assert "Landed" not in output


@pytest.mark.parametrize("usd", ["0.06", "0.03", "0.005"])
def test_the_deep_agent_stays_within_a_scarce_budget(usd: str) -> None:
    with serving(deep_agent.travel_replies) as provider:
        guard = BudgetMiddleware(
            budget=Budget(usd=usd, landing_reserve=0.1), models=[openai_model(provider, "gpt-4o-mini", max_tokens=400)]
        )
        agent = deep_agent.build_agent(openai_model(provider, max_tokens=400), guard)
        state = agent.invoke({"messages": [("human", "Compare trains, ferries and planes.")]}, thread())
        report = guard.spend(thread())
        assert state["messages"][-1].text
        assert report.cost_nanos == provider.bill_nanos
        assert provider.bill_usd <= Decimal(usd)
