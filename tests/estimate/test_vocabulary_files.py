"""Where vocabularies come from, watched from inside a fresh interpreter: no socket, no temporary file, no litellm."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CL100K_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
TEXT = "Ten tokens, or so?"
PROGRAM = """
import json, os, sys
opened, before = [], dict(os.environ)
def watch(event, args):
    if event == "open":
        opened.append(str(args[0]))
    if event.startswith("socket."):
        raise RuntimeError(f"{event} {args}")
sys.addaudithook(watch)
if "--without-litellm" in sys.argv:
    sys.modules["litellm"] = None  # Python's own way to make a package unimportable
from budgeted_agents.estimate import count_text, is_counted
count = count_text(sys.argv[1], "cl100k_base")
print(json.dumps({"count": count, "exact": is_counted("cl100k_base"), "opened": opened,
    "litellm": sys.modules.get("litellm") is not None, "environment kept": dict(os.environ) == before}))
"""


def run(tmp_path: Path, *options: str, **environment: str) -> dict[str, Any]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    own = {key: value for key, value in os.environ.items() if not key.endswith("_CACHE_DIR")}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, TEXT, *options],
        env={**own, "TMPDIR": str(scratch), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(scratch.iterdir()) == []
    seen: dict[str, Any] = json.loads(result.stdout)
    assert seen["environment kept"]
    return seen


@pytest.fixture
def own_cache(tmp_path: Path, bundled: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    shutil.copy(bundled / CL100K_FILE, folder)
    return folder


def test_the_bundled_vocabulary_is_read_without_network_or_litellm(tmp_path: Path, bundled: Path) -> None:
    seen = run(tmp_path)
    assert (seen["count"], seen["exact"], seen["litellm"]) == (6, True, False)
    assert str(bundled / CL100K_FILE) in seen["opened"]


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"])
def test_the_users_own_cache_wins(tmp_path: Path, bundled: Path, own_cache: Path, variable: str) -> None:
    seen = run(tmp_path, **{variable: str(own_cache)})
    assert (seen["count"], seen["exact"]) == (6, True)
    assert str(own_cache / CL100K_FILE) in seen["opened"]
    assert str(bundled / CL100K_FILE) not in seen["opened"]


def test_a_damaged_file_is_passed_over_and_left_alone(tmp_path: Path, bundled: Path, own_cache: Path) -> None:
    damaged = own_cache / CL100K_FILE
    damaged.write_bytes(damaged.read_bytes()[:1000])
    seen = run(tmp_path, TIKTOKEN_CACHE_DIR=str(own_cache))
    assert (seen["count"], seen["exact"]) == (6, True)
    assert str(bundled / CL100K_FILE) in seen["opened"]
    assert damaged.stat().st_size == 1000


def test_without_a_vocabulary_bytes_are_counted_and_said_to_be(tmp_path: Path) -> None:
    seen = run(tmp_path, "--without-litellm")
    assert (seen["count"], seen["exact"]) == (len(TEXT), False)
