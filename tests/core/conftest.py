"""A device type whose calls a test looks at."""

from __future__ import annotations

import pytest

from .log import Log


@pytest.fixture
def log() -> Log:
    return Log()
