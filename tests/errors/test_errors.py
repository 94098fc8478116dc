"""Errors cross process boundaries: a copy says the same and has the same facts."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import pytest

from budgeted_agents import Budget, errors
from budgeted_agents.errors import BudgetedAgentsError, BudgetExceeded, InvalidBudget, InvalidInput, UnknownPrice
from budgeted_agents.integrations.langchain.governance.interrupts import BudgetInterrupt

FACTS = {"budget": "session", "account": "session@t1", "unit": "usd", "needed": 7, "available": 3, "limit": 10}

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, BudgetedAgentsError) and cls.__module__ == errors.__name__
]


def pickled(protocol: int, error: Any) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": partial(pickled, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
}
HOWEVER = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def raised(cls: type[BudgetedAgentsError]) -> BudgetedAgentsError:
    if issubclass(cls, InvalidInput):
        return cls("is negative", field="usd", value=[-1], place="Budget 'a'", remedy="Give more")
    if issubclass(cls, UnknownPrice):
        return cls("gpt-9", ["gpt-4o", "gpt-5"], hint="It is new.")
    if issubclass(cls, BudgetExceeded):
        return cls("No room.", **FACTS)  # type: ignore[arg-type]
    return cls("The disk is full.")


@HOWEVER
@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_can_be_copied_and_pickled(
    cls: type[BudgetedAgentsError], copied: Callable[[BudgetedAgentsError], BudgetedAgentsError]
) -> None:
    error = raised(cls)
    error.add_note("while the agent was built")
    other = copied(error)
    assert type(other) is cls
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


@HOWEVER
def test_a_copy_of_what_stops_a_graph_is_the_refusal_with_all_its_facts(copied: Callable[[Any], Any]) -> None:
    other = copied(BudgetInterrupt(BudgetExceeded("No room.", **FACTS)))  # type: ignore[arg-type]
    assert type(other) is BudgetExceeded
    assert (str(other), other.particulars) == ("No room.", FACTS)


def test_a_process_pool_hands_back_what_was_wrong_and_goes_on() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(InvalidBudget, match="is negative"):
            pool.submit(Budget, usd=-1).result()
        assert pool.submit(Budget, usd=1).result() == Budget(usd=1)
