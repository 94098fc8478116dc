"""``Policy``: the budgets that govern an application together, from code or from a file.

A file is TOML or JSON::

    [[budgets]]
    name = "tenant-month"
    per = ["tenant"]
    window = "month"
    usd = "5000"

    [model_classes]
    premium = ["gpt-4o", "anthropic/claude-opus-*"]
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from budgeted_agents.budget.attribution import DIMENSIONS
from budgeted_agents.budget.budget import LIMITS, Budget
from budgeted_agents.errors import InvalidBudget, InvalidPolicy

MAX_BYTES = 1_000_000
"""Size of the largest policy file that is read."""


@dataclass(frozen=True)
class Policy:
    """Budgets that apply together, and which models belong to which class.

    Attributes:
        budgets: with distinct names.
        model_classes: class name to model-name patterns (``*`` and ``?``); the first class that matches counts.

    Raises:
        InvalidBudget: two budgets share a name, or one is bound to a model class that there is not.
    """

    budgets: tuple[Budget, ...] = ()
    model_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [budget.name for budget in self.budgets]
        for name in names:
            if names.count(name) > 1:
                raise InvalidBudget(
                    "two budgets have this name, so they would share accounts",
                    field="name",
                    value=name,
                    place="budgets",
                    remedy="Give each budget a name of its own",
                )
        for index, budget in enumerate(self.budgets):
            self._check_classes(budget, f"budgets[{index}]")

    def _check_classes(self, budget: Budget, place: str) -> None:
        """No call would ever match a class that is not defined."""
        known = ", ".join(map(repr, self.model_classes))
        for name in budget.where.get("model_class", ()):
            if name not in self.model_classes:
                raise InvalidBudget(
                    "is a model class that the policy does not define, so the budget would limit nothing",
                    field="where.model_class",
                    value=name,
                    place=place,
                    remedy=f"Define it in [model_classes] of a policy file{known and f', or write one of {known}'}",
                )

    @cached_property
    def by_name(self) -> Mapping[str, Budget]:
        """The budgets by their names."""
        return {budget.name: budget for budget in self.budgets}

    @cached_property
    def dimensions(self) -> frozenset[str]:
        """Every dimension a call should be attributed by: the known ones, and the free tags some budget asks for."""
        return DIMENSIONS | self.deciding

    @cached_property
    def deciding(self) -> frozenset[str]:
        """The dimensions that decide which accounts a call is charged to."""
        return frozenset().union(*(set(budget.per) | set(budget.where) for budget in self.budgets))

    @cached_property
    def caps(self) -> frozenset[str]:
        """The limits that some enforced budget sets, by field name: what no budget caps need not be looked at."""
        enforced = [budget for budget in self.budgets if not budget.shadow]
        return frozenset(name for budget in enforced for name in LIMITS if getattr(budget, name) is not None)

    @cached_property
    def counts_tools(self) -> bool:
        """Whether some budget limits calls of tools, or watches them."""
        return any(budget.tool_calls is not None for budget in self.budgets)

    @cached_property
    def first_alert(self) -> float:
        """The lowest ``alert_at`` of all budgets: an account with a smaller share spent has nothing to tell of."""
        return min([1.0, *(budget.alert_at for budget in self.budgets)])

    def without_landing(self) -> Policy:
        """The same budgets, nothing kept back for a landing unless they say so: for what has none."""
        kept = "landing_reserve"
        budgets = [
            budget if kept in budget.model_fields_set else budget.model_copy(update={kept: 0.0})
            for budget in self.budgets
        ]
        return replace(self, budgets=tuple(budgets))

    def model_class(self, model: str) -> str | None:
        """The class a model belongs to, by its full name or its name without the provider."""
        bare = model.rpartition("/")[2]
        for name, patterns in self.model_classes.items():
            if any(fnmatchcase(model, pattern) or fnmatchcase(bare, pattern) for pattern in patterns):
                return name
        return None


def is_same_model(one: str, other: str) -> bool:
    """Whether two names may be one model's: a name without its provider is the model's, whoever serves it."""
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


BudgetLike = Policy | Budget | Sequence[Budget] | str | os.PathLike[str] | None
"""What ``budget=`` takes everywhere: one budget, several, a policy file, or none."""


def as_policy(budget: BudgetLike) -> Policy:
    """The policy that a ``budget=`` argument means.

    Raises:
        InvalidPolicy: the file cannot be read or understood, or no budget is listed.
        InvalidBudget: a budget is wrong, two share a name, or one is bound to a model class that there is not.
    """
    if budget is None:
        return Policy()
    if isinstance(budget, Budget):
        return Policy((budget,))
    if isinstance(budget, str | os.PathLike):
        return load_policy(Path(budget))
    if isinstance(budget, list | tuple) and all(isinstance(item, Budget) for item in budget):
        budget = Policy(tuple(budget))
    if not isinstance(budget, Policy):
        raise _refused("is neither a Budget, a list of them, nor a policy file", budget)
    if not budget.budgets:
        raise _refused("lists no budget, so nothing would be limited", budget, ", or None for no limit")
    return budget


def _refused(problem: str, budget: object, else_write: str = "") -> InvalidPolicy:
    remedy = f'Write Budget(usd="1.00"), [Budget(...), ...] or "policy.toml"{else_write}'
    return InvalidPolicy(problem, field="budget", value=budget, place="budget=", remedy=remedy)


def load_policy(path: Path) -> Policy:
    """Read a policy file (``.toml`` or ``.json``).

    Raises:
        InvalidPolicy, InvalidBudget: naming the file and the place in it.
    """
    document = _read(path)
    unknown = set(document) - {"budgets", "model_classes"}
    if unknown:
        name = min(unknown)
        raise _bad("is not a section of a policy file", name, document[name], path)
    tables = document.get("budgets", [])
    if not isinstance(tables, list) or not tables:
        raise _bad("lists no budget", "budgets", tables, path)
    budgets = [_budget(table, f"{path}: budgets[{index}]") for index, table in enumerate(tables)]
    classes = _classes(document.get("model_classes", {}), path)
    try:
        return Policy(tuple(budgets), classes)
    except InvalidBudget as error:
        raise _moved(error, f"{path}: {error.place}") from None


def _read(path: Path) -> dict[str, Any]:
    formats: dict[str, Callable[[str], object]] = {".toml": tomllib.loads, ".json": _parse_json}
    parse = formats.get(path.suffix)
    if parse is None:
        raise _bad("is not a .toml or .json file", "budget", str(path), path)
    try:
        document = parse(_text(path))
    except OSError as error:
        raise _bad(f"cannot be read ({error.strerror})", "budget", str(path), path) from None
    except RecursionError:
        raise _bad("is nested too deep", "budget", str(path), path) from None
    except ValueError as error:  # TOML and JSON errors, and text that is not UTF-8, are all ValueErrors
        raise _bad(f"cannot be understood: {error}", "budget", str(path), path) from None
    if not isinstance(document, dict):
        raise _bad("is not a table of budgets", "budget", str(path), path)
    return document


def _text(path: Path) -> str:
    with path.open("rb") as file:
        body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    return body.decode("utf-8")


def _parse_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's fields: a name that comes twice would silently lift the first limit. TOML refuses that itself."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return fields


def _budget(table: object, place: str) -> Budget:
    if not isinstance(table, dict):
        raise InvalidPolicy("is not a table", field="budgets", value=table, place=place, remedy="Write [[budgets]]")
    try:
        return Budget(**table)
    except InvalidBudget as error:
        raise _moved(error, place) from None


def _moved(error: InvalidBudget, place: str) -> InvalidBudget:
    """The same error, where the file has it."""
    return InvalidBudget(error.problem, field=error.field, value=error.value, place=place, remedy=error.remedy)


def _classes(table: object, path: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict):
        raise _bad("is not a table", "model_classes", table, path)
    for name, patterns in table.items():
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise _bad("is not a list of model names", f"model_classes.{name}", patterns, path)
    return {name: tuple(patterns) for name, patterns in table.items()}


def _bad(problem: str, field: str, value: object, path: Path) -> InvalidPolicy:
    return InvalidPolicy(
        problem, field=field, value=value, place=str(path), remedy="See docs/policy.md for the shape of a policy file"
    )
