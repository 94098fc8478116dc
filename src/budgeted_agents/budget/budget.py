"""``Budget``: limits over one kind of account, with window, thresholds and what to do when it runs out."""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from budgeted_agents.budget.window import WindowKind, zone_named
from budgeted_agents.errors import InvalidAmount, InvalidBudget
from budgeted_agents.money import MAX_AMOUNT, parse_usd, to_usd

OnExhausted = Literal["land", "suspend", "raise"]
Mode = Literal["enforce", "shadow"]
ContextOverflow = Literal["trim", "summarize"]

DEFAULT_LANDING_RESERVE = 0.03
"""Share of a session's budget that only the finalizer may spend, unless the budget says otherwise."""

_LONGEST_NAME = 100


def _usd(value: object) -> Decimal:
    """Decimal USD from what a user may write, by way of nano-USD, so that a budget is what a ledger can keep."""
    return to_usd(parse_usd(value, place="Budget"))  # type: ignore[arg-type]


def _tuple_of_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _ordered_names(value: object) -> object:
    """The names of ``per``. Their order is in an account's key, and a set's is another one in each process."""
    if isinstance(value, Set):
        remedy = 'Give them in an order, e.g. ("tenant", "user"), the same one wherever the ledger is used'
        raise _Contradiction("per", value, "is a set, whose order differs from process to process", remedy)
    return _tuple_of_names(value)


def _choices(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: _tuple_of_names(choice) for name, choice in value.items()}


Count = Annotated[int, Field(strict=True, gt=0, le=MAX_AMOUNT)]
Share = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class Budget(BaseModel):
    """Limits over one kind of account.

    Every call is charged to one account of each budget that matches it; all must have room for it. Limits that are not
    given do not bind.

    Attributes:
        name: names the budget in accounts, messages and reports; made from ``per`` and ``window`` if not given.
        per: the dimensions an account is kept for: ``("session",)`` is one account a session (``thread_id``),
            ``("tenant", "feature")`` one for each pair, ``("run",)`` one for each invocation, ``()`` one for all. Their
            order is part of an account's name.
        window: ``None`` (never starts afresh), ``minute``, ``hour``, ``day``, ``week``, ``month`` or ``year``.
        timezone: whose calendar days and longer windows follow (IANA name).
        where: only calls whose attribution has one of these values, e.g. ``{"model_class": ("premium",)}``.
        usd: USD, as ``str``, ``int``, ``Decimal``, or a ``float`` by its shortest decimal form.
        tokens: input and output tokens together.
        model_calls: model calls.
        tool_calls: tool calls; a mapping caps by tool name (``"*"`` for all together).
        loops: visits of one node in a run (a fan-out of one step is one visit).
        depth: agents inside agents; 1 forbids sub-agents.
        context_tokens: input tokens of one call; above it the context is pruned where that is possible.
        context_overflow: what becomes of the turns that have to go then: ``trim`` drops them, ``summarize`` has the
            cheapest tier sum them up.
        requests_per_minute: model calls begun in one minute of the clock.
        alert_at, downgrade_at: pressure (share of the limit, 0 to 1) of the ladder's first steps.
        landing_reserve: share of the limit only the finalizer may spend; by default 0.03 for budgets per session or run
            that land, else 0.
        min_output_tokens: the shortest answer still worth paying for.
        max_wait: seconds a call waits for money that calls in flight hold and may give back, before it is refused.
        on_exhausted: ``land``, ``suspend`` or ``raise``.
        mode: ``enforce``, or ``shadow`` to decide and record everything and change nothing.

    Raises:
        InvalidBudget: naming the field, the value and the remedy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: str = ""
    per: Annotated[tuple[str, ...], BeforeValidator(_ordered_names)] = ("session",)
    window: WindowKind | None = None
    timezone: str = "UTC"
    where: Annotated[Mapping[str, tuple[str, ...]], BeforeValidator(_choices)] = Field(default_factory=dict)

    usd: Annotated[Decimal, BeforeValidator(_usd)] | None = None
    tokens: Count | None = None
    model_calls: Count | None = None
    tool_calls: Count | Mapping[str, Count] | None = None
    loops: Count | None = None
    depth: Count | None = None
    context_tokens: Count | None = None
    context_overflow: ContextOverflow = "trim"
    requests_per_minute: Count | None = None

    alert_at: Share = 0.8
    downgrade_at: Share = 0.9
    landing_reserve: Share | None = None
    min_output_tokens: Count = 128
    max_wait: Annotated[float, Field(strict=True, ge=0, le=3600, allow_inf_nan=False)] = 30.0
    on_exhausted: OnExhausted = "land"
    mode: Mode = "enforce"

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise _invalid(fields, error) from None

    @model_validator(mode="after")
    def _fill_and_check(self) -> Self:
        # object.__setattr__: the model is frozen for everyone else.
        if not self.name:
            object.__setattr__(
                self, "name", "/".join([*(self.per or ("all",)), *([self.window] if self.window else [])])
            )
        if self.landing_reserve is None:
            lands = self.on_exhausted == "land" and bool({"session", "run"} & set(self.per))
            object.__setattr__(self, "landing_reserve", DEFAULT_LANDING_RESERVE if lands else 0.0)
        for check in _CHECKS:
            check(self)
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed, validated like any other budget.

        Raises:
            InvalidBudget: the changed budget would be wrong.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**given, **(update or {})})

    @cached_property
    def usd_nanos(self) -> int | None:
        """The USD limit in nano-USD."""
        return None if self.usd is None else parse_usd(self.usd)

    @cached_property
    def tool_limits(self) -> Mapping[str, int]:
        """Tool-call limits by tool name; ``"*"`` is all tools together."""
        if self.tool_calls is None:
            return {}
        return {"*": self.tool_calls} if isinstance(self.tool_calls, int) else dict(self.tool_calls)

    @property
    def shadow(self) -> bool:
        return self.mode == "shadow"


class _Contradiction(ValueError):
    """Fields that are each well-formed and cannot hold together."""

    def __init__(self, field: str, value: object, problem: str, remedy: str) -> None:
        self.field, self.value, self.problem, self.remedy = field, value, problem, remedy
        super().__init__(problem)


def _check_name(budget: Budget) -> None:
    name = budget.name
    if len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        remedy = f"Use at most {_LONGEST_NAME} printable characters, none of them a space at an end"
        raise _Contradiction("name", name, "is not a short printable name", remedy)


def _check_dimensions(budget: Budget) -> None:
    for field, names in (("per", budget.per), ("where", tuple(budget.where))):
        if any(not name.isidentifier() for name in names):
            value = getattr(budget, field)
            raise _Contradiction(field, value, "holds a name that is not an identifier", 'Use names such as "tenant"')
    if len(set(budget.per)) != len(budget.per):
        raise _Contradiction("per", budget.per, "names a dimension twice", "Name each dimension once")
    if not all(values and all(values) for values in budget.where.values()):
        remedy = 'Name the values to match, e.g. {"model_class": ("premium",)}'
        raise _Contradiction("where", budget.where, "has a dimension that no call could match", remedy)


def _check_zone(budget: Budget) -> None:
    try:
        zone_named(budget.timezone)
    except (KeyError, ValueError, OSError):
        remedy = 'Use an IANA name, e.g. "Europe/Paris"'
        raise _Contradiction("timezone", budget.timezone, "is not a known time zone", remedy) from None


def _check_limits(budget: Budget) -> None:
    if all(getattr(budget, limit) is None for limit in LIMITS):
        raise _Contradiction("usd", None, "no limit is given at all", f"Give at least one of {', '.join(LIMITS)}")
    if budget.usd is not None and budget.usd == 0:
        raise _Contradiction("usd", budget.usd, "is zero: nothing could ever be called", "Give an amount above zero")
    if isinstance(budget.tool_calls, Mapping) and not all(budget.tool_calls or [""]):
        raise _Contradiction("tool_calls", budget.tool_calls, "names no tool", 'Give a number, or e.g. {"search": 5}')


def _check_context(budget: Budget) -> None:
    if budget.context_overflow == "summarize" and budget.context_tokens is None:
        remedy = "Say from how many input tokens on, e.g. context_tokens=16_000"
        raise _Contradiction("context_overflow", budget.context_overflow, "has no context_tokens to go by", remedy)


def _check_thresholds(budget: Budget) -> None:
    alert, downgrade, reserve = budget.alert_at, budget.downgrade_at, budget.landing_reserve
    for field, share in (("alert_at", alert), ("downgrade_at", downgrade)):
        if share > 1:
            raise _Contradiction(field, share, "is above 1", "Give a share of the limit between 0 and 1, e.g. 0.8")
    if downgrade < alert:
        remedy = "Alert first, then downgrade: give a downgrade_at that is not below alert_at"
        raise _Contradiction("downgrade_at", downgrade, f"is below alert_at ({alert})", remedy)
    if reserve is not None and reserve >= 1:
        problem = "leaves nothing for the work itself"
        raise _Contradiction("landing_reserve", reserve, problem, "Give a share below 1, e.g. 0.05")


LIMITS = ("usd", "tokens", "model_calls", "tool_calls", "loops", "depth", "context_tokens", "requests_per_minute")
"""Fields that limit something; all but ``tool_calls``, which may be a mapping, are amounts."""

_CHECKS = (_check_name, _check_dimensions, _check_zone, _check_limits, _check_context, _check_thresholds)

_REMEDIES = {
    "extra_forbidden": "Remove it, or see the fields of Budget for the right name",
    "greater_than": "Give a number above zero",
    "greater_than_equal": "Give a number that is not negative",
    "less_than_equal": "Give a smaller number",
    "finite_number": "Give a finite number",
    "int_type": "Give a whole number",
    "float_type": "Give a number, e.g. 0.5",
    "string_type": "Give text",
    "tuple_type": 'Give a name, or several, e.g. ("tenant", "feature")',
    "mapping_type": 'Give a mapping, e.g. {"model_class": ("premium",)}',
    "dict_type": 'Give a mapping, e.g. {"model_class": ("premium",)}',
    "literal_error": "Use one of the values named",
    "enum": "Use one of the values named",
}


def _invalid(fields: Mapping[str, Any], error: ValidationError) -> InvalidBudget:
    """The first problem as a typed error; pydantic's own text says what is expected."""
    found = error.errors()
    # A field that takes a number or a mapping has one error for each; the one that reached furthest is to the point.
    first = max((e for e in found if e["loc"][:1] == found[0]["loc"][:1]), key=lambda e: len(_path(e["loc"])))
    cause = first.get("ctx", {}).get("error")
    path = ".".join(_path(first["loc"]))
    place = f"Budget {fields['name']!r}" if isinstance(fields.get("name"), str) and fields["name"] else "Budget"
    if isinstance(cause, _Contradiction):
        value = fields.get(cause.field, cause.value)
        return InvalidBudget(cause.problem, field=cause.field, value=value, place=place, remedy=cause.remedy)
    if isinstance(cause, InvalidAmount):
        return InvalidBudget(cause.problem, field=path or "usd", value=cause.value, place=place, remedy=cause.remedy)
    remedy = _REMEDIES.get(first["type"], "Correct the value")
    problem = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "extra_forbidden":
        problem = "is not a field of Budget"
    return InvalidBudget(problem, field=path, value=first["input"], place=place, remedy=remedy)


def _path(loc: tuple[int | str, ...]) -> list[str]:
    """Where in the budget an error is, without the names pydantic gives to what it tried there."""
    tried = ("constrained-", "function-", "mapping[", "dict[")
    return [str(part) for part in loc if not str(part).startswith(tried)]
