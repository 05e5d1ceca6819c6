"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# Examples are not timed: the machines are shared, and pytest-timeout bounds every test.
settings.register_profile("iotio", deadline=None)
settings.load_profile("iotio")
