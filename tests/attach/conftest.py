"""What langchain-core and the providers' async clients leave behind goes with the test that left it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _left_behind() -> Iterator[None]:
    """langchain-core never starts the tracers of a refused call, and langchain-openai keeps clients of event loops
    that have ended."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
