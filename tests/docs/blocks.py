"""Code blocks of a Markdown file, and running them: ``python tests/docs/blocks.py docs/graphs.md``.

All ``python`` blocks of a file run in order in one namespace. A comment ``<!-- not run: why -->`` on the line before a
block leaves it out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its code, the line its code begins at, and whether it is to be run."""

    language: str
    code: str
    line: int
    runs: bool


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks of a Markdown text."""
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        runs = fence["language"] == "python" and not _NOT_RUN.search(before)
        yield Block(fence["language"], fence["code"], before.count("\n") + 2, runs)


def run(file: Path) -> None:
    """Run a file's blocks; errors show the file's own lines."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(file.read_text(encoding="utf-8")):
        if block.runs:
            source = "\n" * (block.line - 1) + block.code
            exec(compile(source, str(file), "exec"), namespace)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
