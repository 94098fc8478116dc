"""The application under examination: found by ``path.to:app``, and what to send it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from budgeted_agents.errors import InvalidGraph
from budgeted_agents.testing.answers import as_json
from budgeted_agents.testing.samples import sample

QUESTION = "What is the answer?"
"""What the doctor asks where an application wants text."""


def load_app(spec: str) -> Runnable[Any, Any]:
    """Import ``package.module:name`` (or ``name.attribute``), also from the working directory.

    Raises:
        InvalidGraph: there is no such module or name, importing it fails, or it is nothing that can be invoked.
    """
    module_name, separator, name = spec.partition(":")
    if not separator or not module_name or not name:
        raise _invalid("does not name a module and an app in it", spec, 'Write e.g. "myproject.agent:app"')
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except SystemExit as error:
        problem = f"cannot be imported: the module calls sys.exit({error.code!r})"
        remedy = 'Set what it asks for, or put what ends the process under: if __name__ == "__main__":'
        raise _invalid(problem, spec, remedy) from error
    except Exception as error:
        problem = f"cannot be imported ({type(error).__name__}: {error})"
        raise _invalid(problem, spec, "Import it in a Python shell to see why") from error
    if isinstance(found, StateGraph):
        raise _invalid("is a graph that is not compiled", spec, "Name what graph.compile() gave you")
    if not isinstance(found, Runnable):
        raise _invalid("is neither a compiled graph nor a chain", spec, "Name an object that has invoke(...)")
    return found


@dataclass(frozen=True)
class Sent:
    """What an application is invoked with: ``app.invoke(input, config, context=context)``."""

    input: Any
    config: RunnableConfig
    context: Any = None


def sent_to(app: Runnable[Any, Any], given: str | None, config: str | None, context: str | None) -> Sent:
    """What to send: the JSON texts that were given; else the simplest input and context of the application's schemas.

    Raises:
        InvalidGraph: a text is not JSON, is no such config, or is no context of this application.
    """
    return Sent(_input_for(app, given), _config_of(config), _context_for(app, context))


def _input_for(app: Runnable[Any, Any], given: str | None) -> Any:
    if given is not None:
        return _as_messages(_parsed("input", given, """Write e.g. --input '{"messages": ["Hello."]}'"""))
    schema = _schema(app)
    if schema.get("type") == "object" and schema.get("properties"):
        return {name: _value(name, part, schema) for name, part in schema["properties"].items()}
    return QUESTION


def _config_of(given: str | None) -> RunnableConfig:
    if given is None:
        return {}
    remedy = """Write e.g. --config '{"configurable": {"user_id": "7"}, "metadata": {"tenant": "acme"}}'"""
    config = _object("config", given, remedy)
    for name, value in config.items():
        kind = _CONFIG.get(name)
        if kind is None:
            problem = "is no part of a config that can be written as JSON"
            raise InvalidGraph(
                problem, field=f"config.{name}", value=value, place="doctor", remedy=f"Use {', '.join(_CONFIG)}"
            )
        if not isinstance(value, kind):
            problem = f"is not {_KINDS[kind]}"
            raise InvalidGraph(problem, field=f"config.{name}", value=value, place="doctor", remedy=remedy)
    return cast("RunnableConfig", config)


_CONFIG = {"configurable": dict, "metadata": dict, "tags": list, "run_name": str, "recursion_limit": int}
_KINDS = {dict: "a JSON object", list: "a JSON array", str: "text", int: "a whole number"}


def _context_for(app: Runnable[Any, Any], given: str | None) -> Any:
    schema = app.context_schema if isinstance(app, Pregel) else None
    if given is None:
        return None if schema is None else _simplest_context(cast("Pregel[Any, Any]", app))
    context = _object("context", given, """Write e.g. --context '{"user": "ada"}'""")
    if schema is None:
        remedy = "Leave it out, or compile the graph with a context_schema"
        raise InvalidGraph("is not taken by this app", field="context", value=given, place="doctor", remedy=remedy)
    try:
        TypeAdapter(schema).validate_python(context)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("context", *first["loc"])))
        remedy = f"Give what {getattr(schema, '__name__', schema)}, the context_schema of the graph, has"
        raise InvalidGraph(
            f"does not fit ({first['msg']})", field=where, value=first["input"], place="doctor", remedy=remedy
        ) from None
    except (PydanticUserError, NameError):
        pass  # it has types of the user's own; the graph will say
    return context


def _simplest_context(graph: Pregel[Any, Any]) -> Any:
    """A value for each field that has no default; None if the schema's types are no types of JSON."""
    try:
        schema: Any = graph.get_context_jsonschema() or {}
    except Exception:  # noqa: BLE001 -- a context that has no schema
        return None
    parts, definitions = schema.get("properties", {}), schema.get("$defs", {})
    return {name: sample({**parts[name], "$defs": definitions}, QUESTION) for name in schema.get("required", ())}


def _object(field: str, given: str, remedy: str) -> dict[str, Any]:
    found = _parsed(field, given, remedy)
    if not isinstance(found, dict):
        raise InvalidGraph("is not a JSON object", field=field, value=given, place="doctor", remedy=remedy)
    return found


def _parsed(field: str, given: str, remedy: str) -> Any:
    try:
        return json.loads(given)
    except ValueError:
        raise InvalidGraph("is not JSON", field=field, value=given, place="doctor", remedy=remedy) from None


def _schema(app: Runnable[Any, Any]) -> dict[str, Any]:
    try:
        schema: Any = app.get_input_jsonschema()
    except Exception:  # noqa: BLE001 -- a state that has no schema; the usual one is tried
        return {"type": "object", "properties": {"messages": {}}}
    reference = schema.get("$ref")
    if reference is None:
        return dict(schema)
    return {**schema["$defs"][reference.rsplit("/", 1)[-1]], "$defs": schema["$defs"]}


def _value(name: str, part: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    if name == "messages":
        return [HumanMessage(QUESTION)]
    if part.get("type") == "array":
        return []
    return json.loads(as_json(QUESTION, {**part, "$defs": schema.get("$defs", {})})) if part else QUESTION


def _as_messages(given: Any) -> Any:
    """Texts among the messages become messages, also in states that have no reducer that would do it."""
    if isinstance(given, dict) and isinstance(given.get("messages"), list):
        texts = given["messages"]
        return {**given, "messages": [HumanMessage(text) if isinstance(text, str) else text for text in texts]}
    return given


def _invalid(problem: str, value: object, remedy: str) -> InvalidGraph:
    return InvalidGraph(problem, field="app", value=value, place="doctor", remedy=remedy)
