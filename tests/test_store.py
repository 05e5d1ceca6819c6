"""Opening a store by its URL."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from iotio.core.storage.contract import PutDevice, Store, StoreError
from iotio.store import MemoryStore, open_store
from tests.store.records import device


def test_the_packages_are_loaded_when_a_store_is_opened(tmp_path: Path) -> None:
    code = (
        "import sys, iotio, iotio.core.storage.writer\nfrom iotio.store import open_store, MemoryStore\n"
        "iotio.IoTManager()\n"
        "loaded = lambda: print([name in sys.modules for name in ('sqlalchemy', 'alembic')])\n"
        "loaded()\nopen_store('sqlite:///iotio.db')\nloaded()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["[False, False]", "[True, True]"]


def test_relative_and_absolute_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a folder").mkdir()
    monkeypatch.chdir(tmp_path / "a folder")
    with closing(open_store("sqlite:///iotio.db")) as store:
        monkeypatch.chdir(tmp_path)
        store.commit([PutDevice(device())])
    with closing(open_store(f"sqlite:///{tmp_path / 'a folder' / 'iotio.db'}")) as store:
        assert len(store.load().devices) == 1


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:", "sqlite:///", "sqlite:///file:x?uri=true"]
)
def test_a_url_without_a_file(url: str) -> None:
    with pytest.raises(StoreError, match=r"names no file: write sqlite:///iotio.db"):
        open_store(url)


@pytest.mark.parametrize("url", ["iotio.db", "mysql://host/db", ""])
def test_an_unknown_kind(url: str) -> None:
    with pytest.raises(
        StoreError, match=r"there is no store for .*: write sqlite:///iotio.db, .* or postgresql://user@host/database"
    ):
        open_store(url)


def test_a_store_that_is_open_is_given_back(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'iotio.db'}")) as store:
        assert isinstance(store, Store)
        store.commit([PutDevice(device())])
        assert store.load().devices == (device(),)


def test_a_refused_store_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("iotio.db", "sqlite:", "SQLITE:///iotio.db"):
        with pytest.raises(StoreError):
            open_store(url)
    assert list(tmp_path.iterdir()) == []


def test_memory_has_no_url() -> None:
    assert issubclass(MemoryStore, Store)
    with pytest.raises(StoreError, match="there is no store for 'memory'"):
        open_store("memory:")
