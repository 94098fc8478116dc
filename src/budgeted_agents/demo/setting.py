"""What the demonstration runs on: documents, models, and a local provider unless a real one is named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgeted_agents.budget import Budget
from budgeted_agents.errors import InvalidInput
from budgeted_agents.estimate import count_text
from budgeted_agents.ledgers import Ledger
from budgeted_agents.meter import Listener
from budgeted_agents.testing import LocalProvider, research_replies

LOCAL_MODELS = ("openai/gpt-4o", "openai/gpt-4o-mini")
"""What the local provider plays, best first, at their list prices."""

QUESTION = "What happens when a budget runs out, and how is a reservation charged if its worker dies?"
BUDGET = "0.06"
"""USD for the run that is shown live: enough to get far, too little to finish on the better model."""

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[2]


@dataclass(frozen=True)
class Setting:
    """What every run of one demonstration shares.

    Attributes:
        question: what is asked.
        docs: the folder it is asked of.
        models: LiteLLM names, best first.
        settings: for the models, e.g. ``api_base``.
        provider: the local provider, None if a real one answers.
    """

    question: str
    docs: Path
    models: Sequence[str]
    settings: Mapping[str, Any]
    provider: LocalProvider | None

    def load(self) -> None:
        """Import what takes seconds, so that the first step is not kept waiting."""
        from budgeted_agents.integrations.litellm import chat_model

        chat_model(self.models[0], **self.settings)

    def app(self, budget: Budget, ledger: Ledger | str | None = None, listeners: tuple[Listener, ...] = ()) -> Any:
        """The research agent under a budget, compiled."""
        from budgeted_agents.integrations.langchain import budgeted_model
        from budgeted_agents.integrations.langgraph import BudgetedGraph

        def graph_class(state: Any) -> Any:
            return BudgetedGraph(state, budget=budget, ledger=ledger, listeners=listeners)

        build = _bundled("graphs.research").build_research_graph
        graph = build(budgeted_model(*self.models, **self.settings), self.docs, graph_class=graph_class)
        return graph.set_finalizer("answer").compile()


@contextmanager
def opened(question: str | None, docs: Path | None, models: Sequence[str], api_base: str | None) -> Iterator[Setting]:
    """The setting for a demonstration; its local provider, if it needs one, is closed at the end.

    Raises:
        InvalidInput: the folder of documents does not exist.
    """
    folder = docs or _default_docs()
    if not folder.is_dir():
        remedy = "Name a folder of .md, .rst or .txt files"
        raise InvalidInput("is not a folder", field="docs", value=str(folder), place="demo", remedy=remedy)
    asked = question or QUESTION
    if models:
        settings = {"api_base": api_base} if api_base else {}
        yield Setting(asked, folder, models, settings, None)
        return
    with LocalProvider(research_replies(reads=6), count_tokens=count_text, prompt_cache=True) as provider:
        settings = {"api_base": provider.base_url, "api_key": "sk-local"}
        yield Setting(asked, folder, LOCAL_MODELS, settings, provider)


def _default_docs() -> Path:
    return next(folder for folder in (_HERE / "bundled" / "docs", _CHECKOUT / "docs") if folder.is_dir())


def _bundled(module: str) -> Any:
    """A module of the demonstration's own graph: it lies in the wheel beside this file, or in the checkout."""
    root = _HERE / "bundled" if (_HERE / "bundled").is_dir() else _CHECKOUT
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(root))
