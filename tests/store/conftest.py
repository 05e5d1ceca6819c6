"""Both kinds of store, and a place for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iotio.core.storage.contract import Store
from iotio.store import MemoryStore, open_store

Reopen = Callable[[], Store]


@pytest.fixture(params=["sqlite", "memory"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Open the store; when called again, close it and open it again with what it holds."""
    memory = MemoryStore()
    opened: list[Store] = []

    def function() -> Store:
        while opened:
            opened.pop().close()
        store = memory if request.param == "memory" else open_store(f"sqlite:///{tmp_path / 'iotio.db'}")
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
