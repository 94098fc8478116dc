"""The documentation is true: its code runs, its links resolve, and it names everything that is public."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import budgeted_agents
from budgeted_agents.estimate import count_text
from budgeted_agents.testing import LocalProvider, Reply, Request, ToolCall
from tests.docs.blocks import blocks_of

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def answers(request: Request) -> Reply:
    """A short answer; where tools are offered, the first one is called once before."""
    if request.tools and not request.tool_results:
        return Reply(tool_calls=[ToolCall(request.tool_names[0], {"query": "budgets"})])
    return Reply("Here is a short answer.", output_tokens=60)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with LocalProvider(answers, count_tokens=count_text) as provider:
        yield provider


def environment(provider: LocalProvider) -> dict[str, str]:
    """What makes code that was written for OpenAI ask the local provider, and keeps it from asking anyone else."""
    nowhere = "http://127.0.0.1:9"
    return {
        **os.environ,
        "OPENAI_API_KEY": "sk-local",
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_BASE": provider.base_url,
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LANGSMITH_TRACING": "false",
    }


def pages_with_code() -> list[Path]:
    return [page for page in PAGES if any(block.runs for block in blocks_of(text_of(page)))]


@pytest.mark.parametrize("page", pages_with_code(), ids=name_of)
def test_code_runs(page: Path, provider: LocalProvider, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text('{"house-model": {"input_cost_per_token": "0.000001"}}')
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("blocks.py")), str(page)],
        cwd=tmp_path,
        env=environment(provider),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_most_blocks_run() -> None:
    """The comment that leaves a block out is an exception."""
    blocks = [block for page in PAGES for block in blocks_of(text_of(page)) if block.language == "python"]
    assert sum(block.runs for block in blocks) > 0.9 * len(blocks)


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_resolve(page: Path) -> None:
    assert [target for target in links_of(page) if not resolves(page, target)] == []


def links_of(page: Path) -> Iterator[str]:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text_of(page), flags=re.DOTALL)
    targets = (match["target"] for match in _LINK.finditer(prose))
    yield from (target for target in targets if not target.startswith(("https://", "http://")))


def resolves(page: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    other = (page.parent / file).resolve() if file else page
    if not other.is_relative_to(ROOT) or not other.is_file():
        return False
    return not anchor or anchor in {anchor_of(heading) for heading in _HEADING.findall(text_of(other))}


def anchor_of(heading: str) -> str:
    """The anchor that a heading gets on the usual hosts."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    pending = [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        reached.add(page)
        found = {(page.parent / target.partition("#")[0]).resolve() for target in links_of(page)}
        pending += [other for other in found - reached if other.suffix == ".md" and other.is_file()]
    assert set(DOCS) - reached == set()


@pytest.mark.parametrize("name", budgeted_agents.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    assert any(pattern.search(text_of(page)) for page in DOCS), f"no page in docs/ says what {name} is"
