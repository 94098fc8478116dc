"""The documentation makes a site without a warning: no dead link, no page outside the contents, no docstring that
cannot be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import budgeted_agents

ROOT = Path(__file__).parents[2]


def test_the_site_is_made_without_a_warning_and_says_all_that_is_exported(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-c", "docs/site"]
    made = subprocess.run([*sphinx, "docs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    reference = (tmp_path / "api.html").read_text()
    exported = set(budgeted_agents.__all__) - {"__version__"}
    assert exported == {name for name in exported if f'id="budgeted_agents.{name}"' in reference}
