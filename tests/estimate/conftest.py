from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundled() -> Path:
    """The folder of vocabularies that comes with litellm."""
    litellm = find_spec("litellm")
    assert litellm is not None
    assert litellm.submodule_search_locations
    return Path(litellm.submodule_search_locations[0], "litellm_core_utils", "tokenizers")
