"""`iotio export` and `iotio import`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from iotio.cli import main
from iotio.core.storage.contract import PutDevice, PutMessage
from iotio.store import open_store
from tests.store.records import device, message
from tests.support.postgres import PostgresServer


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.output


def test_from_sqlite_to_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer) -> None:
    monkeypatch.chdir(tmp_path)
    url = postgres.url(postgres.new_database())
    with closing(open_store("sqlite:///iotio.db")) as store:
        store.commit([PutDevice(device()), PutMessage(message(1))])
        assert run("export", "all.gz") == (0, f"all.gz: {Path('all.gz').stat().st_size} bytes\n")
    assert run("import", "all.gz", "--store", url) == (0, "all.gz: 2 records\n")
    assert run("export", "--store", url, "back.gz")[0] == 0
    assert Path("back.gz").read_bytes() == Path("all.gz").read_bytes()


def test_what_cannot_be_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, said = run("export", "all.gz")
    assert status == 1
    assert said == f"Error: there is no store {str(tmp_path / 'iotio.db')!r}\n"
    open_store("sqlite:///iotio.db").close()
    assert run("export", "all.gz")[0] == 0
    status, said = run("export", "all.gz")
    assert (status, said.count("\n")) == (1, 1)
    assert "exists already: name another file, or replace it (--force" in said
    assert run("export", "--force", "all.gz")[0] == 0
    status, said = run("import", "absent.gz")
    assert (status, said) == (1, f"Error: {tmp_path / 'absent.gz'} cannot be read: No such file or directory\n")
