"""Settings for all tests."""

from __future__ import annotations

import gc

from hypothesis import settings

# Examples are not timed: the machines are shared, and pytest-timeout bounds every test.
settings.register_profile("iotio", deadline=None)
settings.load_profile("iotio")


def pytest_collection_finish() -> None:
    """What lives now lives to the end: `gc.collect`, which many tests call, need not look through it each time."""
    gc.collect()
    gc.freeze()
