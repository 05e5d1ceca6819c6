"""`iotio backup`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from iotio.cli import main
from iotio.cli.backup import run_backup
from iotio.cli.target import Failure
from iotio.core.storage.contract import PutMessage
from iotio.store import open_store
from tests.store.records import message


def test_a_copy_of_a_store_that_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///iotio.db")) as store:
        store.commit([PutMessage(message(1))])
        done = CliRunner().invoke(main, ["backup", "copy.db"])
        assert done.exit_code == 0, done.output
        assert done.output == f"copy.db: {Path('copy.db').stat().st_size} bytes\n"
        again = CliRunner().invoke(main, ["backup", "--store", f"sqlite:///{tmp_path}/iotio.db", "copy.db"])
        assert again.exit_code == 1
        assert "exists already: name another file, or replace it (--force" in again.output
        assert CliRunner().invoke(main, ["backup", "--force", "copy.db"]).exit_code == 0
    with closing(sqlite3.connect("copy.db")) as raw:
        assert raw.execute("SELECT number FROM iotio_messages").fetchall() == [(1,)]


def test_what_cannot_be_copied_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"^there is no store '.*iotio\.db' to copy$"):
        run_backup(f"sqlite:///{tmp_path}/iotio.db", str(tmp_path / "copy.db"), force=False)
    done = CliRunner().invoke(main, ["backup", "--store", "postgresql://host/db", str(tmp_path / "copy.db")])
    assert done.exit_code == 1
    assert "is copied by pg_dump" in done.output
