"""Whatever way a budget is attached in, a setting of the wrong kind is named before any call is made."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from budgeted_agents import Budget, BudgetedGraph, BudgetMiddleware, CostCallback, budgeted
from budgeted_agents.errors import InvalidAttribution, InvalidInput, InvalidSetting


def compiled(of: Any = StateGraph, **settings: Any) -> Any:
    graph = of(MessagesState, **settings)
    graph.add_node("work", lambda state: None)
    graph.add_edge(START, "work")
    return graph.compile()


WAYS: dict[str, Any] = {
    "BudgetedGraph": lambda **settings: compiled(BudgetedGraph, **settings),
    "budgeted": lambda **settings: budgeted(compiled(), **settings),
    "CostCallback": CostCallback,
    "BudgetMiddleware": BudgetMiddleware,
}
BAD: dict[str, tuple[str, Any]] = {
    "one function for listeners": ("listeners", print),
    "None for listeners": ("listeners", None),
    "a text for listeners": ("listeners", "print"),
    "a dict for prices": ("prices", {"gpt-4o": 1}),
    "statuses for a billing table": ("billing", {500}),
    "anything for a recorder": ("recorders", (object(),)),
    "one recorder class": ("recorders", Budget),
    "a text for attribution": ("attribution", "acme"),
    "a number for a ledger": ("ledger", 5),
    "an empty text for a ledger": ("ledger", ""),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", BAD)
def test_a_setting_of_the_wrong_kind_is_named(way: str, case: str) -> None:
    field, value = BAD[case]
    with pytest.raises(InvalidInput) as raised:
        WAYS[way](budget=Budget(usd=1), **{field: value})
    assert raised.value.field == field
    assert raised.value.value == value
    assert raised.value.remedy


def test_a_listener_by_itself_is_told_how_to_write_it() -> None:
    with pytest.raises(InvalidSetting, match=r"in a tuple: listeners=\(told,\)"):
        CostCallback(listeners=print)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["budgeted", "BudgetMiddleware"])
def test_a_session_in_the_place_of_a_config_is_named(way: str) -> None:
    app = WAYS[way](budget=Budget(usd=1))
    with pytest.raises(InvalidAttribution, match=r"is no config. Pass the config the graph is invoked with"):
        app.spend("t1")


@pytest.mark.parametrize("way", WAYS)
def test_listeners_may_come_one_by_one(way: str) -> None:
    app = WAYS[way](budget=Budget(usd=1), listeners=iter([print]))
    meter = app.settings.meter if hasattr(app, "settings") else app.meter
    assert meter.listeners == (print,)
