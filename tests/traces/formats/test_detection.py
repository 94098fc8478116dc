"""Each importer claims the real traces of its own kind, and no others."""

from __future__ import annotations

import pytest

from budgeted_agents.traces.files import FileSource
from budgeted_agents.traces.formats import Format, claude_code, codex, litellm, neutral
from tests.traces.formats.samples import samples


@pytest.mark.parametrize(
    "importer",
    [claude_code.FORMAT, codex.FORMAT, litellm.FORMAT, neutral.FORMAT],
    ids=lambda importer: importer.name,
)
def test_an_importer_claims_its_own_files_and_no_others(importer: Format) -> None:
    claimed = {file for file in samples() if importer.detect(FileSource(file))}
    assert claimed == set(samples(importer.name))
