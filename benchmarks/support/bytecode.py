"""The package's bytecode, which pip writes when it installs it and a checkout may lack."""

from __future__ import annotations

import compileall
from pathlib import Path

import budgeted_agents


def compile_package() -> None:
    """Compile what has changed, so that no process that is measured has to (also under PYTHONDONTWRITEBYTECODE)."""
    for folder in budgeted_agents.__path__:
        compileall.compile_dir(Path(folder), quiet=1)
