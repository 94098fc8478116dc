"""Policies: budgets together, from code or from a file; what is wrong in a file is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from budgeted_agents.budget import Budget, Policy, as_policy, load_policy
from budgeted_agents.budget.policy import MAX_BYTES
from budgeted_agents.errors import InvalidBudget, InvalidInput, InvalidPolicy

TOML = """
[[budgets]]
name = "tenant-month"
per = ["tenant"]
window = "month"
timezone = "Europe/Paris"
usd = "5000"

[[budgets]]
usd = 0.25
tool_calls = { search = 5, "*" = 20 }
where = { model_class = "premium" }

[model_classes]
premium = ["gpt-4o", "anthropic/claude-opus-*"]
small = ["*-mini"]
"""

SAME = Policy(
    (
        Budget(name="tenant-month", per=("tenant",), window="month", timezone="Europe/Paris", usd=5000),
        Budget(usd="0.25", tool_calls={"search": 5, "*": 20}, where={"model_class": ("premium",)}),
    ),
    {"premium": ("gpt-4o", "anthropic/claude-opus-*"), "small": ("*-mini",)},
)


def written(folder: Path, text: str | bytes, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_toml_and_json_mean_the_same(tmp_path: Path) -> None:
    assert load_policy(written(tmp_path, TOML)) == SAME
    body: dict[str, Any] = {
        "budgets": [
            {
                "name": "tenant-month",
                "per": ["tenant"],
                "window": "month",
                "timezone": "Europe/Paris",
                "usd": "5000",
            },
            {"usd": 0.25, "tool_calls": {"search": 5, "*": 20}, "where": {"model_class": "premium"}},
        ],
        "model_classes": {"premium": ["gpt-4o", "anthropic/claude-opus-*"], "small": ["*-mini"]},
    }
    assert load_policy(written(tmp_path, json.dumps(body), "policy.json")) == SAME


def test_everything_that_budget_takes_becomes_a_policy(tmp_path: Path) -> None:
    budget = Budget(usd=1)
    assert as_policy(None) == Policy()
    assert as_policy(budget) == as_policy([budget]) == as_policy((budget,)) == Policy((budget,))
    assert as_policy(SAME) is SAME
    path = written(tmp_path, TOML)
    assert as_policy(path) == as_policy(str(path)) == SAME


@pytest.mark.parametrize("value", [[], (), Policy()])
def test_no_budget_at_all_is_said_with_none(value: Any) -> None:
    with pytest.raises(InvalidPolicy, match="lists no budget, so nothing would be limited") as caught:
        as_policy(value)
    assert caught.value.remedy.endswith(", or None for no limit")


@pytest.mark.parametrize(("classes", "named"), [({}, ""), ({"premium": ("gpt-4o",)}, ", or write one of 'premium'")])
def test_a_budget_bound_to_a_class_that_is_not_defined_is_refused(
    classes: dict[str, tuple[str, ...]], named: str
) -> None:
    bound = Budget(name="bound", usd=1, where={"model_class": ("premium", "premum") if classes else "premum"})
    with pytest.raises(InvalidBudget) as caught:
        Policy((Budget(usd=1), bound), classes)
    error = caught.value
    assert (error.field, error.value, error.place) == ("where.model_class", "premum", "budgets[1]")
    assert error.remedy == f"Define it in [model_classes] of a policy file{named}"


@pytest.mark.parametrize("value", [5, 1.0, {"usd": 1}, ["1.00"], [Budget(usd=1), None], object])
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        as_policy(value)
    error = caught.value
    assert (error.field, error.value, error.place) == ("budget", value, "budget=")
    assert error.remedy == 'Write Budget(usd="1.00"), [Budget(...), ...] or "policy.toml"'


def test_two_budgets_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidBudget) as caught:
        as_policy([Budget(usd=1), Budget(tokens=5)])
    error = caught.value
    assert (error.field, error.value, error.place) == ("name", "session", "budgets")
    assert error.remedy == "Give each budget a name of its own"


ONE = '[[budgets]]\nusd = "1"\n'

BAD_FILES: list[tuple[str, str | bytes, str, str, str]] = [
    # file name, text, field, where in the file, problem
    ("p.yaml", ONE, "budget", "", "is not a .toml or .json file"),
    ("p.toml", "budgets = [", "budget", "", "cannot be understood"),
    ("p.toml", b"\xff\xfe", "budget", "", "cannot be understood"),
    ("p.toml", 'a = 1\na = 2\n[[budgets]]\nusd="1"', "budget", "", "cannot be understood"),
    ("p.json", "{", "budget", "", "cannot be understood"),
    ("p.json", "[]", "budget", "", "is not a table of budgets"),
    ("p.json", '{"budgets": [{"usd": "1", "usd": "1000"}]}', "budget", "", "'usd' is given twice"),
    ("p.json", '{"budgets": ' + "[" * 100_000, "budget", "", "is nested too deep"),
    ("p.json", " " * (MAX_BYTES + 1), "budget", "", "more than 1,000,000 bytes"),
    ("p.toml", "", "budgets", "", "lists no budget"),
    ("p.toml", "budgets = 5", "budgets", "", "lists no budget"),
    ("p.json", '{"budgets": []}', "budgets", "", "lists no budget"),
    ("p.json", '{"budgets": [5]}', "budgets", ": budgets[0]", "is not a table"),
    ("p.toml", ONE + "[limits]\nusd = 1", "limits", "", "is not a section of a policy file"),
    ("p.toml", ONE + 'context_overflow = "summarize"', "context_overflow", ": budgets[0]", "has no context_tokens"),
    ("p.toml", "model_classes = 5\n" + ONE, "model_classes", "", "is not a table"),
    ("p.toml", ONE + '[model_classes]\npremium = "gpt-4o"', "model_classes.premium", "", "is not a list of model"),
    ("p.toml", ONE + "[model_classes]\npremium = [4]", "model_classes.premium", "", "is not a list of model names"),
    ("p.toml", ONE + '[[budgets]]\nname = "b"\nusd = -1', "usd", ": budgets[1]", "is negative"),
    ("p.toml", "[[budgets]]\nusd = nan", "usd", ": budgets[0]", "is not a finite number"),
    ("p.json", '{"budgets": [{"usd": 1e999}]}', "usd", ": budgets[0]", "is not a finite number"),
    ("p.json", '{"budgets": [{"tokens": 1e3}]}', "tokens", ": budgets[0]", "valid integer"),
    ("p.toml", "[[budgets]]\nusd = 1\ntokns = 5", "tokns", ": budgets[0]", "is not a field of Budget"),
    (
        "p.toml",
        ONE + 'where = { model_class = ["premum"] }\n[model_classes]\npremium = ["gpt-4o"]',
        "where.model_class",
        ": budgets[0]",
        "is a model class that the policy does not define",
    ),
    ("p.toml", ONE + ONE, "name", ": budgets", "two budgets have this name"),
]


@pytest.mark.parametrize(("name", "text", "field", "where", "problem"), BAD_FILES)
def test_a_bad_file_is_named_with_the_place_in_it(
    tmp_path: Path, name: str, text: str | bytes, field: str, where: str, problem: str
) -> None:
    path = written(tmp_path, text, name)
    with pytest.raises(InvalidInput) as caught:
        as_policy(str(path))
    error = caught.value
    assert isinstance(error, InvalidPolicy | InvalidBudget)
    assert (error.field, error.place) == (field, f"{path}{where}")
    assert problem in error.problem
    assert error.remedy


@pytest.mark.parametrize("name", ["missing.toml", "folder.toml", "null\0.toml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InvalidPolicy, match=r"cannot be (read|understood)") as caught:
        as_policy(tmp_path / name)
    assert caught.value.place == str(tmp_path / name)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "premium"),
        ("openai/gpt-4o", "premium"),
        ("gpt-4o-mini", "small"),
        ("anthropic/claude-opus-4-6", "premium"),
        ("claude-opus-4-6", None),
        ("GPT-4O", None),
    ],
)
def test_a_models_class_is_the_first_whose_pattern_has_its_name_with_or_without_provider(
    model: str, expected: str | None
) -> None:
    assert SAME.model_class(model) == expected


def test_calls_are_attributed_by_the_known_dimensions_and_those_a_budget_asks_for() -> None:
    policy = as_policy(Budget(usd=1, per=("team",), where={"color": "blue"}))
    assert {"session", "tenant", "team", "color"} <= policy.dimensions
