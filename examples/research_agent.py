"""A research agent over a folder of documents that never spends more than it was given.

    python -m examples.research_agent "How is a call priced?" --docs docs --usd 0.02 --local

The agent itself (``graphs/research.py``) knows nothing of budgets: its builder is handed ``BudgetedGraph`` for
``StateGraph``, and models that step down to a cheaper one. When the money runs out in the midst of research, its answer
node is run on what has been found so far.

``--local`` answers from a local provider, without a model or a key; otherwise set the provider's key, for example
OPENAI_API_KEY.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from budgeted_agents import Budget, BudgetedGraph, budgeted_model
from budgeted_agents.testing import LocalProvider, research_replies
from graphs.research import build_research_graph

CHECKOUT = Path(__file__).resolve().parent.parent
TIERS = ("openai/gpt-4o", "openai/gpt-4o-mini")
LANDING_RESERVE = 0.2  # enough for an answer from the notes by the cheaper model


def build_app(docs: Path, budget: Budget, *, ledger: str, tiers: Sequence[str] = TIERS, **settings: Any) -> Any:
    """The research agent under a budget, compiled.

    Args:
        docs: the folder of documents.
        budget: the limits, for each session.
        ledger: where the money is kept, e.g. ``"sqlite:///spend.db"``.
        tiers: models, best first.
        settings: for the models, e.g. ``api_base``.
    """
    graph_class = partial(BudgetedGraph, budget=budget, ledger=ledger)
    graph: Any = build_research_graph(budgeted_model(*tiers, **settings), docs, graph_class=graph_class)
    graph.set_finalizer("answer")
    return graph.compile()


def main(arguments: Sequence[str] | None = None) -> None:
    """Asks the question given on the command line, and prints the answer and what it cost."""
    options = _options(arguments)
    budget = Budget(usd=options.usd, tool_calls=20, loops=8, context_tokens=16_000, landing_reserve=LANDING_RESERVE)
    thread = {"configurable": {"thread_id": options.thread}, "metadata": {"feature": "research"}}
    with ExitStack() as stack:
        settings: dict[str, Any] = {}
        if options.local:
            provider = stack.enter_context(LocalProvider(research_replies()))
            settings = {"api_base": provider.base_url, "api_key": "sk-local"}
        app = build_app(options.docs, budget, ledger=options.ledger, **settings)
        state = app.invoke({"question": options.question}, thread)
        report = app.spend(thread)
    print(state.get("answer", "No answer."))
    print(f"\n{len(report.model_calls)} model calls, {len(report.tool_calls)} tool calls, ${report.cost_usd}")
    if report.landing:
        print(f"Landed: {report.landing}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Research a question in a folder of documents, inside a budget.")
    parser.add_argument("question")
    parser.add_argument("--docs", type=Path, default=CHECKOUT / "docs", help="folder of .md, .rst and .txt files")
    parser.add_argument("--usd", default="0.10", help="the budget of the session (default: %(default)s)")
    parser.add_argument("--ledger", default="memory://", help="e.g. sqlite:///spend.db (default: %(default)s)")
    parser.add_argument("--thread", default="research-1", help="the session's id (default: %(default)s)")
    parser.add_argument("--local", action="store_true", help="answer from a local provider, without a model or a key")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
