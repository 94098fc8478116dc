"""What is wrong is said at once: the field, the value, the place and the remedy, before anything has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph

from budgeted_agents import Budget, BudgetedGraph, budgeted, budgeted_model
from budgeted_agents.errors import InvalidInput, UnknownPrice
from budgeted_agents.testing import fixed
from tests.langgraph.support import State, openai_model, serving, slim, thread

B = Budget(usd=1)
PREMIUM = Budget(usd=1, where={"model_class": "premium"})
BEGIN = {"messages": [], "visits": 0}


def built(**settings: Any) -> Any:
    graph: Any = BudgetedGraph(State, **{"budget": B, **settings})
    graph.add_node("work", lambda state: {"visits": 1})
    graph.add_edge(START, "work")
    return graph


def with_private_node() -> Any:
    class Private(TypedDict):
        note: str

    def private(state: Private) -> Any:
        return {"visits": 1}

    graph = built()
    graph.add_node("private", private, input_schema=Private)
    return graph


def compiled() -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("work", lambda state: {"visits": 1})
    graph.add_edge(START, "work")
    return graph.compile()


CASES: dict[str, tuple[Any, str]] = {
    "finalizer names no node": (lambda: built().set_finalizer("nobody"), "finalizer"),
    "finalizer names a node that takes more": (lambda: with_private_node().set_finalizer("private"), "finalizer"),
    "finalizer is a number": (lambda: built().set_finalizer(7), "finalizer"),
    "finalizer is None": (lambda: built().set_finalizer(None), "finalizer"),
    "finalizer of budgeted is text": (lambda: budgeted(compiled(), budget=B, finalizer="work"), "finalizer"),
    "an uncompiled graph": (lambda: budgeted(StateGraph(State), budget=B), "graph"),  # type: ignore[type-var]
    "a function for a graph": (lambda: budgeted(lambda state: state, budget=B), "graph"),  # type: ignore[type-var]
    "a runnable for a graph": (lambda: budgeted(RunnableLambda(str), budget=B), "graph"),  # type: ignore[type-var]
    "None for a graph": (lambda: budgeted(None, budget=B), "graph"),  # type: ignore[type-var]
    "a number for a budget": (lambda: built(budget=1), "budget"),
    "a budget without its name": (lambda: BudgetedGraph(State, B), "context_schema"),  # type: ignore[arg-type]
    "budgets without their name": (lambda: BudgetedGraph(State, [B]), "context_schema"),  # type: ignore[arg-type]
    "a policy without its name": (lambda: BudgetedGraph(State, "policy.toml"), "context_schema"),  # type: ignore[arg-type]
    "an empty list of budgets": (lambda: built(budget=[]), "budget"),
    "a model class nobody defined": (lambda: built(budget=PREMIUM), "where.model_class"),
    "a list with something else": (lambda: built(budget=[B, "more"]), "budget"),
    "two budgets of one name": (lambda: built(budget=[B, B]), "name"),
    "a policy file that is not there": (lambda: built(budget="/nowhere/policy.toml"), "budget"),
    "a policy file of another kind": (lambda: built(budget="policy.yaml"), "budget"),
    "a ledger of another kind": (lambda: built(ledger="mysql://x").compile(), "ledger"),
    "a ledger without a scheme": (lambda: built(ledger="spend.db").compile(), "ledger"),
    "a ledger that is a number": (lambda: built(ledger=7).compile(), "ledger"),
    "a ledger in no folder": (lambda: built(ledger="sqlite:////nowhere/at/all/spend.db").compile(), "path"),
    "an attribution that is empty": (lambda: built(attribution={"tenant": ""}).compile(), "tenant"),
    "an attribution that is a list": (lambda: built(attribution={"tenant": ["acme"]}).compile(), "tenant"),
    "no model": (lambda: budgeted_model(), "models"),
    "an empty name": (lambda: budgeted_model(""), "models"),
    "a number for a model": (lambda: budgeted_model(7), "models"),  # type: ignore[arg-type]
    "a list for a model": (lambda: budgeted_model(["openai/gpt-4o"]), "models"),  # type: ignore[arg-type]
    "a class for a model": (lambda: budgeted_model(Budget), "models"),  # type: ignore[arg-type]
    "a setting LiteLLM lacks": (lambda: budgeted_model("openai/gpt-4o", tempratur=1), "tempratur"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_with_its_field_value_place_and_remedy(case: str) -> None:
    make, field = CASES[case]
    with pytest.raises(InvalidInput) as raised:
        make()
    error = raised.value
    assert error.field == field
    assert error.place
    assert error.remedy
    assert error.problem
    assert str(error) == f"{error.place}: {error.field}={_shown(error.value)}: {error.problem}. {error.remedy}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def test_nothing_is_left_behind_by_a_bad_setting(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        built(ledger=f"sqlite:///{tmp_path / 'spend.db'}", attribution={"tenant": ""}).compile()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("governed", [False, True])
def test_an_unknown_model_is_refused_with_the_nearest_names_before_the_call(governed: bool) -> None:
    with serving(fixed("fine")) as provider:
        plain = openai_model(provider, "gpt-4oh-mini", max_tokens=10)
        model = budgeted_model(plain) if governed else plain
        graph: Any = BudgetedGraph(State, budget=B)
        graph.add_node("work", lambda state: {"messages": [slim(model.invoke("Who?"))]})
        graph.add_edge(START, "work")
        with pytest.raises(UnknownPrice) as raised:
            graph.compile().invoke(BEGIN, thread())
        assert raised.value.model == "gpt-4oh-mini"
        assert any("gpt-4o" in name for name in raised.value.nearest)
        assert "add a price" in str(raised.value)
        assert not provider.requests


def test_a_graph_inside_another_cannot_keep_its_money_elsewhere(tmp_path: Path) -> None:
    inner = built(budget=Budget(name="inner", usd=1), ledger=f"sqlite:///{tmp_path / 'inner.db'}").compile()
    graph: Any = BudgetedGraph(State, budget=B)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    with pytest.raises(InvalidInput, match="ledger") as raised:
        graph.compile().invoke(BEGIN, thread())
    assert raised.value.field == "ledger"
    inner.settings.meter.ledger.close()
