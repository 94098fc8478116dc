"""The simplest value of a schema is one that its type accepts."""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter

from budgeted_agents.testing import Reply, samples
from tests.langgraph.support import openai_model, serving

TEXT = "It is so."


class Color(Enum):
    red = "red"
    blue = "blue"


class Cat(BaseModel):
    type: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    type: Literal["dog"]


class Tree(BaseModel):
    name: str
    first: Tree | None
    others: list[Tree]
    named: dict[str, Tree] = {}
    twin: Tree | Cat


class Pet(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="type")]


TYPES: list[Any] = [
    str,
    int,
    float,
    bool,
    None,
    Decimal,
    Color,
    Cat,
    Pet,
    Tree,
    Literal["a"],
    Literal[3, 4],
    Annotated[Cat | Dog, Field(discriminator="type")],
    Annotated[int, Field(ge=1, le=5)],
    Annotated[int, Field(gt=1, lt=3)],
    Annotated[int, Field(le=-2)],
    Annotated[int, Field(lt=-2)],
    Annotated[int, Field(gt=10, multiple_of=4)],
    Annotated[float, Field(gt=0, lt=1)],
    Annotated[float, Field(gt=0)],
    Annotated[float, Field(lt=0)],
    Annotated[float, Field(ge=-4, lt=-3.5)],
    Annotated[float, Field(gt=0.2, lt=0.3)],
    Annotated[str, Field(min_length=30)],
    Annotated[str, Field(max_length=4)],
    Annotated[str, Field(min_length=60, max_length=61)],
    Annotated[str, Field(max_length=0)],
    Annotated[str, Field(pattern=r"^[a-z]+$")],
    Annotated[str, Field(pattern=r"^[A-Z]{3}$")],
    Annotated[str, Field(pattern=r"^\d{5}$", min_length=5)],
    list[int],
    Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=2, max_length=2)],
    Annotated[list[int], Field(max_length=0)],
    tuple[int, bool],
    tuple[int, ...],
    dict[str, int],
    list[Tree],
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    uuid.UUID,
    AnyUrl,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    Any,
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_it_is_accepted(kind: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    found = samples.sample(adapter.json_schema(), TEXT)
    adapter.validate_python(found)
    assert samples.sample(adapter.json_schema(), TEXT) == found


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, TEXT),
        ({"type": "STRING"}, TEXT),  # Gemini's
        ({"type": "INTEGER", "minimum": 2}, 2),
        ({"type": "ARRAY", "items": {"type": "BOOLEAN"}, "minItems": "2"}, [False, False]),
        ({"type": ["null", "integer"]}, 0),
        ({"type": ["null"]}, None),
        ({"properties": {"a": True}}, {"a": TEXT}),
        ({"type": "array", "items": True}, [TEXT]),
        ({"allOf": [{"$ref": "#/definitions/A"}], "definitions": {"A": {"type": "integer", "minimum": 1}}}, 1),
        ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {"const": 1}}}]}, {"a": TEXT, "b": 1}),
        ({"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]}, {"a": TEXT}),
        ({"oneOf": [{"$ref": "#"}, {"const": 7}]}, 7),
        ({"$ref": "#/$defs/missing"}, TEXT),
        ({"$ref": "#"}, TEXT),
        ({"type": "string", "pattern": "(?P<js>"}, TEXT),
        ({"type": "string", "pattern": "^(only|these)$"}, TEXT),
    ],
    ids=str,
)
def test_other_schemas(schema: dict[str, Any], value: Any) -> None:
    assert samples.sample(schema, TEXT) == value


@pytest.mark.parametrize("schema", [Cat, Pet])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_the_provider_answers_in_the_format_that_is_asked_for(schema: type[BaseModel], method: Any) -> None:
    with serving(lambda request: Reply(TEXT)) as provider:
        model: Any = openai_model(provider)
        assert isinstance(model.with_structured_output(schema, method=method).invoke("Which?"), schema)
