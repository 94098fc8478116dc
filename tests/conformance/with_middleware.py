"""A pytest plugin: every agent a test suite makes with ``create_agent`` gets a ``BudgetMiddleware``, its budget never
reached. Every result must stay what it is without it.

    python -m pytest -p with_middleware <LangChain's tests>
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any

import langchain.agents
import langchain.agents.factory
from never_reached import BUDGET, AnyModel  # type: ignore[import-not-found,unused-ignore]

from budgeted_agents import BudgetMiddleware
from budgeted_agents.prices import PriceBook

_plain_create_agent = langchain.agents.factory.create_agent
made = 0


def _every_price() -> AnyModel:
    book = AnyModel()
    book.__dict__.update(PriceBook.default().__dict__)
    return book


@wraps(_plain_create_agent)
def create_agent(*args: Any, middleware: Sequence[Any] = (), **kwargs: Any) -> Any:
    global made
    made += 1
    guard = BudgetMiddleware(budget=BUDGET, prices=_every_price())
    return _plain_create_agent(*args, middleware=[*middleware, guard], **kwargs)


# The suite is somebody else's, and no test of it may know: that is what is tried here.
for module in (langchain.agents, langchain.agents.factory):
    vars(module)["create_agent"] = create_agent


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"agents made under a budget: {made}")
