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
from budgeted_agents.demo.reading import thorough_replies
from budgeted_agents.errors import InvalidInput
from budgeted_agents.estimate import count_text
from budgeted_agents.ledgers import LedgerLike
from budgeted_agents.meter import Listener
from budgeted_agents.testing import LocalProvider
from budgeted_agents.traces.records.journal import JournalLike

LOCAL_MODELS = ("openai/gpt-4o", "openai/gpt-4o-mini")
"""What the local provider plays, best first, at their list prices."""

QUESTION = "How does a run land when its budget is spent, and which calls are charged as presumed?"
BUDGET = "0.05"
"""USD for the run that is shown live: enough to get far, too little to read everything that is found."""

READS = 18
"""Pages the local provider wants to read. It takes that many for the cheap model to use up what the dear one left,
whatever the documents: a page costs the one a sixteenth of what it costs the other."""

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

    def app(
        self,
        budget: Budget,
        ledger: LedgerLike = None,
        listeners: Sequence[Listener] = (),
        journal: JournalLike = False,
    ) -> Any:
        """The research agent under a budget, compiled."""
        from budgeted_agents.integrations.langchain.models.governed_model import budgeted_model
        from budgeted_agents.integrations.langgraph.graph import BudgetedGraph

        def graph_class(state: Any) -> Any:
            return BudgetedGraph(state, budget=budget, ledger=ledger, listeners=listeners, journal=journal)

        build = _bundled("graphs.research").build_research_graph
        model = budgeted_model(*self.models, **self.settings)
        graph = build(model, self.docs, graph_class=graph_class, max_rounds=READS + 2)
        return graph.set_finalizer("answer").compile()


@contextmanager
def opened(question: str | None, docs: Path | None, models: Sequence[str], api_base: str | None) -> Iterator[Setting]:
    """The setting for a demonstration; its local provider, if it needs one, is closed at the end.

    Raises:
        InvalidInput: the folder of documents does not exist, there is no question about it, or nobody to answer.
    """
    folder = docs or _default_docs()
    if not folder.is_dir():
        raise _invalid("docs", str(folder), "is not a folder", "Name a folder of .md, .rst or .txt files")
    if docs and not (question or "").strip():
        raise _invalid("question", question, "is missing for documents of your own", "Add --question")
    if api_base and not models:
        raise _invalid("api_base", api_base, "serves no model that is named", "Add --model")
    asked = (question or "").strip() or QUESTION
    if models:
        settings = {"api_base": api_base} if api_base else {}
        yield Setting(asked, folder, models, settings, None)
        return
    with LocalProvider(thorough_replies(READS), count_tokens=count_text) as provider:
        settings = {"api_base": provider.base_url, "api_key": "sk-local"}
        yield Setting(asked, folder, LOCAL_MODELS, settings, provider)


def _invalid(field: str, value: object, problem: str, remedy: str) -> InvalidInput:
    return InvalidInput(problem, field=field, value=value, place="demo", remedy=remedy)


def _default_docs() -> Path:
    bundled = _HERE / "bundled" / "docs"
    return bundled if bundled.is_dir() else _CHECKOUT / "docs"


def _bundled(module: str) -> Any:
    """A module of the demonstration's own graph: it lies in the wheel beside this file, or in the checkout."""
    root = _HERE / "bundled" if (_HERE / "bundled").is_dir() else _CHECKOUT
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(root))
