"""All kinds of store, and a place for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iotio.core.storage.contract import Store
from iotio.store import MemoryStore, open_store
from tests.support.postgres import PostgresServer

Reopen = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store in a database is to be."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'iotio.db'}"
    return new_postgres(request)


def new_postgres(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; the server is started for the first one."""
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.new_database())


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Open the store; when called again, close it and open it again with what it holds."""
    memory = MemoryStore()
    opened: list[Store] = []
    url = new_postgres(request) if request.param == "postgresql" else f"sqlite:///{tmp_path / 'iotio.db'}"

    def function() -> Store:
        while opened:
            opened.pop().close()
        store = memory if request.param == "memory" else open_store(url)
        store.open()
        opened.append(store)
        return store

    yield function
    while opened:
        opened.pop().close()


@pytest.fixture
def store(reopen: Reopen) -> Store:
    """An open, empty store."""
    return reopen()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be; a folder with all that a URL or an ini file might trip over."""
    folder = tmp_path / "a folder 100%(here)s ü"
    folder.mkdir()
    return folder / "iotio.db"
