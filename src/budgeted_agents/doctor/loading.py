"""The application under examination: found by ``path.to:app``, and what to send it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph

from budgeted_agents.errors import InvalidGraph
from budgeted_agents.testing.answers import as_json

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


def input_for(app: Runnable[Any, Any], given: str | None) -> Any:
    """What to send: the JSON text that was given, or the simplest input of the application's own schema.

    Raises:
        InvalidGraph: the text is not JSON.
    """
    if given is not None:
        try:
            return _as_messages(json.loads(given))
        except ValueError:
            remedy = """Write e.g. --input '{"messages": ["Hello."]}'"""
            raise InvalidGraph("is not JSON", field="input", value=given, place="doctor", remedy=remedy) from None
    schema = _schema(app)
    if schema.get("type") == "object" and schema.get("properties"):
        return {name: _value(name, part, schema) for name, part in schema["properties"].items()}
    return QUESTION


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
