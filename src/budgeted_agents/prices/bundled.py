"""LiteLLM's price list, read as data from the installed package (importing LiteLLM itself takes seconds)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from budgeted_agents.errors import InvalidPrice

_FILE = "model_prices_and_context_window_backup.json"
_NOT_MODELS = ("sample_spec", "fallback_generalizations")


def bundled_list() -> tuple[Mapping[str, Any], str]:
    """The installed LiteLLM's price list and its source, e.g. ``"litellm 1.106.2"``; an empty one if there is none."""
    spec = find_spec("litellm")
    folders = (spec.submodule_search_locations if spec else None) or ()
    path = next((path for folder in folders if (path := Path(folder) / _FILE).is_file()), None)
    if path is None:
        return {}, "no price list"
    rows = read_list(path)
    return {name: row for name, row in rows.items() if name not in _NOT_MODELS}, _source()


def read_list(path: Path) -> dict[str, Any]:
    """A price list in LiteLLM's JSON shape, with every price as the exact decimal that is written there.

    Raises:
        InvalidPrice: if the file cannot be read or is not a JSON object.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise _unreadable(f"cannot be read ({error.strerror})", path) from error
    except ValueError as error:
        raise _unreadable(f"is not JSON ({error})", path) from error
    if not isinstance(rows, dict):
        raise _unreadable("is not a JSON object of models", path)
    return rows


def _source() -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and rarely needed

    try:
        return f"litellm {version('litellm')}"
    except PackageNotFoundError:
        return "litellm"


def _unreadable(problem: str, path: Path) -> InvalidPrice:
    return InvalidPrice(
        problem,
        field="path",
        value=str(path),
        place="price file",
        remedy='Give JSON like {"my-model": {"input_cost_per_token": 0.000001, "output_cost_per_token": 0.000002}}',
    )
