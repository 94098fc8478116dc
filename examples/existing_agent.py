"""A support agent as it ran before there was a budget, and the one line that keeps it inside one.

    python -m examples.existing_agent "Where is order 17?" --usd 0.01 --local

``build_agent`` is the existing application: ``create_agent``, a model, two tools, a retry. The changed line is the
``middleware=`` it is handed. ``--local`` answers from a local provider, without a model or a key; otherwise set
OPENAI_API_KEY.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from budgeted_agents import Budget, BudgetMiddleware
from budgeted_agents.estimate import count_text
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall

ORDERS = {17: "left the warehouse on Monday and arrives on Thursday", 18: "is being packed"}


@tool
def find_order(number: int) -> str:
    """Says where an order is."""
    return f"Order {number} {ORDERS.get(number, 'is not known')}."


@tool
def refund(number: int) -> str:
    """Refunds an order."""
    return f"Order {number} is refunded."


def build_agent(model: Any, middleware: Sequence[Any] = ()) -> Any:
    """The agent, as it was."""
    return create_agent(
        model,
        [find_order, refund],
        system_prompt="You help customers with their orders.",
        middleware=[ModelRetryMiddleware(max_retries=2), *middleware],
    )


def support_replies(request: Request) -> Reply:
    """What the local provider answers: it looks the order up, then says what it has found."""
    question = request.user_texts[0] if request.user_texts else ""
    number = next((int(word) for word in question.replace("?", " ").split() if word.isdigit()), 0)
    if request.tools and not request.tool_results:
        return Reply("Let me look.", [ToolCall("find_order", {"number": number}, id=f"call_{request.number}")])
    found = request.tool_results or [text for text in request.user_texts if text.startswith("Result of")]
    return Reply(found[-1] if found else "I could not look it up.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Asks the question given on the command line, and prints the answer and what it cost."""
    options = _options(arguments)
    with ExitStack() as stack:
        settings: dict[str, Any] = {"max_tokens": 300}
        if options.local:
            provider = stack.enter_context(LocalProvider(support_replies, count_tokens=count_text))
            settings |= {"base_url": provider.base_url, "api_key": "sk-local"}
        cheaper = ChatOpenAI(model="gpt-4o-mini", **settings)
        budget = BudgetMiddleware(budget=Budget(usd=options.usd, tool_calls=5), models=[cheaper], ledger=options.ledger)
        agent = build_agent(ChatOpenAI(model="gpt-4o", **settings), middleware=[budget])
        thread: Any = {"configurable": {"thread_id": options.thread}}
        state = agent.invoke({"messages": [("human", options.question)]}, thread)
        report = budget.spend(thread)
    print(state["messages"][-1].text)
    print(f"\n{len(report.model_calls)} model calls, {len(report.tool_calls)} tool calls, ${report.cost_usd}")
    if report.landing:
        print(f"Landed: {report.landing}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask a support agent, inside a budget.")
    parser.add_argument("question")
    parser.add_argument("--usd", default="0.10", help="the budget of the session (default: %(default)s)")
    parser.add_argument("--ledger", default="memory://", help="e.g. sqlite:///spend.db (default: %(default)s)")
    parser.add_argument("--thread", default="support-1", help="the session's id (default: %(default)s)")
    parser.add_argument("--local", action="store_true", help="answer from a local provider, without a model or a key")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
