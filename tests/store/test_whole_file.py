"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iotio.core.storage.contract import StoreError
from iotio.store.whole_file import check_target, whole_file


def test_it_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with whole_file(target, force=False, mode=0o640) as path:
        path.write_text("all of it")
        assert not target.exists()
    assert target.read_text() == "all of it"
    assert list(tmp_path.iterdir()) == [target]
    if os.name == "posix":
        assert target.stat().st_mode & 0o777 == 0o640


def write(target: Path, error: BaseException | None = None, theirs: str = "") -> None:
    """Write a file, but for an error, or while somebody else writes one of that name."""
    with whole_file(target, force=False) as path:
        path.write_text("half of it")
        if theirs:
            target.write_text(theirs)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")])
def test_nothing_is_left_of_half_a_file(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        write(tmp_path / "file", error)
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="file cannot be written: No space left"):
        write(tmp_path / "file", OSError(28, "No space left on device"))
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        write(tmp_path / "absent" / "file")


def test_a_file_that_comes_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with pytest.raises(StoreError, match="exists already: name another file, or replace it"):
        write(target, theirs="theirs")
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder: name a file in it"):
        check_target(tmp_path, force=True)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="exists already"):
        check_target(tmp_path / "file", force=False)
    check_target(tmp_path / "file", force=True)
