"""What the repository promises about itself: sizes, what it does not name, and what importing it costs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 500
LOCK = "requirements/dev.lock"
DATA = {".csv", ".json", ".jsonl", ".lock", ".pb"}

# Written in pieces, so that this file does not name what it forbids.
REGISTRY_HOST = re.compile(
    r"pypi\.(?:org|python)|files\.pythonhosted|(?:test|index)\.pypi|--(?:extra-)?index-url\s+http"
)
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:home|opt|root|Users|work)/\w|file:///\w|[A-Z]:\\Users\\")
FRAMEWORKS = ("langchain", "langchain_core", "langchain_litellm", "langgraph", "litellm", "opentelemetry")


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def imports_at_load(tree: ast.Module) -> Iterator[str]:
    """Root names of what a module imports when it is loaded: outside functions and TYPE_CHECKING blocks."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node)):
            pending.extend(ast.iter_child_nodes(node))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_no_file_is_too_long() -> None:
    sizes = {path: text_of(path).count("\n") for path in tracked_files() if path.suffix not in DATA}
    assert {str(path): size for path, size in sizes.items() if size > LONGEST_FILE} == {}


@pytest.mark.parametrize("forbidden", [REGISTRY_HOST, MACHINE_PATH], ids=["registry host", "machine path"])
def test_no_file_names_a_registry_or_a_machine_path(forbidden: re.Pattern[str]) -> None:
    found = {str(path): match.group() for path in tracked_files() if (match := forbidden.search(text_of(path)))}
    assert found == {}


def test_the_lock_is_hashed_and_names_no_url_or_path() -> None:
    pin = r"[a-z0-9-]+(\[[a-z0-9]+\])?==[^/@ ]+( ; [^/@]+)? \\"
    hash_ = r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    lines = [line for line in text_of(ROOT / LOCK).splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert [line for line in lines if not re.fullmatch(f"{pin}|{hash_}", line)] == []


def test_graphs_do_not_know_the_library() -> None:
    guilty = [str(path) for path in modules("graphs") if "budgeted_agents" in text_of(path)]
    assert guilty == []


def test_litellm_is_never_imported_at_module_level() -> None:
    heavy = {"langchain_litellm", "litellm"}
    guilty = [str(path) for path in modules("src") if heavy & set(imports_at_load(ast.parse(text_of(path))))]
    assert guilty == []


def test_importing_the_package_brings_in_no_framework() -> None:
    code = "import sys, budgeted_agents; budgeted_agents.__version__; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert {name.split(".")[0] for name in run.stdout.split()} & {*FRAMEWORKS, "pydantic", "tiktoken"} == set()


def test_every_public_name_can_be_loaded() -> None:
    import budgeted_agents

    assert budgeted_agents.__all__ == sorted(budgeted_agents.__all__)
    assert [name for name in budgeted_agents.__all__ if getattr(budgeted_agents, name) is None] == []
