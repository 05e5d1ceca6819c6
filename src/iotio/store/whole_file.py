"""Files that are whole or not there: written under another name first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iotio.core.storage.contract import StoreError

__all__ = ["check_target", "whole_file"]


def check_target(target: Path, *, force: bool) -> None:
    """Refuse a name that no new file may have.

    Raises:
        StoreError: it is that of a folder, or without `force` of a file.
    """
    if target.is_dir():
        raise StoreError(f"{target} is a folder: name a file in it")
    if target.exists() and not force:
        raise _exists(target)


@contextmanager
def whole_file(target: Path, *, force: bool, mode: int = 0o600) -> Iterator[Path]:
    """Write a file that appears under its name when the block has ended in order, and is on the disk then.

    Args:
        target: the name.
        force: replace a file of that name.
        mode: its permissions.

    Returns:
        The path to write to; what is left there after an error is deleted.

    Raises:
        StoreError: it cannot be written; so is an OSError of the block told.
    """
    check_target(target, force=force)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    os.close(descriptor)
    try:
        yield Path(name)
        with open(name, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(name, mode)
        if force:
            os.replace(name, target)
        else:
            _put(name, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(f"{name}{end}")


def _exists(target: Path) -> StoreError:
    return StoreError(f"{target} exists already: name another file, or replace it (--force, force=True)")


def _put(name: str, target: Path) -> None:
    """Give a file its name if there is none of that name, made meanwhile."""
    try:
        os.link(name, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without hard links
        os.replace(name, target)


def _sync_folder(folder: Path) -> None:
    """Have the name on the disk, too; not every system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
