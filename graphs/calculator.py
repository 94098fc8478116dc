"""Arithmetic for a model: numbers, + - * / // % ** and parentheses, read as a syntax tree. Nothing is ever executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from decimal import Decimal, DecimalException, localcontext

MAX_CHARACTERS = 200
MAX_EXPONENT = 1_000
_DIGITS = 28
_LARGEST = Decimal("1e1000")

_OPERATORS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class CalculationError(ValueError):
    """An expression that is no plain arithmetic, or has no finite result; the message is fit for a model to read."""


def calculate(expression: str) -> Decimal:
    """The value of an arithmetic expression, to 28 digits.

    Raises:
        CalculationError: if it is anything but arithmetic, too long, too large, or divides by zero.
    """
    if len(expression) > MAX_CHARACTERS:
        raise CalculationError(f"The expression is longer than {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        with localcontext(prec=_DIGITS):
            return _value(tree.body)
    except (SyntaxError, ValueError, DecimalException, RecursionError, MemoryError) as error:
        problem = str(error) if isinstance(error, CalculationError) else "It is not arithmetic that has a result"
        raise CalculationError(f"{problem}: {expression!r}") from error


def _value(node: ast.expr) -> Decimal:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(Decimal(repr(number)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _bounded(_power(_value(left), _value(right)))
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATORS:
            return _bounded(_OPERATORS[type(operation)](_value(left), _value(right)))
    raise CalculationError("Only numbers, + - * / // % ** and parentheses are allowed")


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if abs(exponent) > MAX_EXPONENT:
        raise CalculationError(f"An exponent is beyond {MAX_EXPONENT}")
    return base**exponent


def _bounded(value: Decimal) -> Decimal:
    if not value.is_finite() or abs(value) > _LARGEST:
        raise CalculationError("A number is too large")
    return value
