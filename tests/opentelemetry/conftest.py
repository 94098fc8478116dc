"""A provider on loopback, and an OpenTelemetry set-up of the user's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from budgeted_agents.testing import LocalProvider
from tests.attach.support import serving
from tests.opentelemetry.support import SetUp


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def set_up() -> SetUp:
    return SetUp()
