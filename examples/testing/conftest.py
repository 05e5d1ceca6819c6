"""The manager of the program is the one that the fixtures of iotio use."""

from __future__ import annotations

import pytest
import server

from iotio import IoTManager


@pytest.fixture
def iotio_manager() -> IoTManager:
    server.alerts.clear()
    return server.manager
