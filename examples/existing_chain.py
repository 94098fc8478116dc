"""An existing LangChain chain, kept inside a budget by one changed line.

    python -m examples.existing_chain "Which trees bear acorns?" --usd 0.001 --local

The chain is as it was: a prompt, a model, a parser. What is new is the callback in its config. A question that does not
fit any more is refused before anything is sent.

``--local`` answers from a local provider, without a model or a key; otherwise set OPENAI_API_KEY.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from budgeted_agents import Budget, BudgetExceeded, CostCallback
from budgeted_agents.testing import LocalProvider, fixed

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable


def build_chain(**settings: Any) -> Runnable[Any, str]:
    """The chain as it was before there was a budget. ``settings`` are the model's."""
    prompt = ChatPromptTemplate.from_messages([("system", "Answer in one sentence."), ("human", "{question}")])
    return prompt | ChatOpenAI(model="gpt-4o-mini", max_completion_tokens=200, **settings) | StrOutputParser()


def main(arguments: Sequence[str] | None = None) -> None:
    """Asks the questions given on the command line, and prints the answers and what they cost."""
    options = _options(arguments)
    with ExitStack() as stack:
        settings: dict[str, Any] = {}
        if options.local:
            provider = stack.enter_context(LocalProvider(fixed("Oaks bear acorns.")))
            settings = {"base_url": provider.base_url, "api_key": "sk-local"}
        chain = build_chain(**settings)
        callback = CostCallback(budget=Budget(usd=options.usd), ledger=options.ledger, session="questions")
        for question in options.questions:
            try:
                print(chain.invoke({"question": question}, {"callbacks": [callback]}))  # the line that changed
            except BudgetExceeded as refusal:
                print(f"Not asked: {refusal}")
        report = callback.spend
    print(f"\n{len(report.model_calls)} model calls, ${report.cost_usd}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask questions by a plain chain, inside a budget.")
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--usd", default="0.10", help="the budget (default: %(default)s)")
    parser.add_argument("--ledger", default="memory://", help="e.g. sqlite:///spend.db (default: %(default)s)")
    parser.add_argument("--local", action="store_true", help="answer from a local provider, without a model or a key")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
