"""Copy a store's file while a server uses it, with SQLite's online backup, into a file that is whole or not there.

The copy is read beside the server and takes no lock of ours. It is of one moment, that of its begin, and the server
goes on: in WAL mode readers and a writer do not wait for each other.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from iotio.core.storage.contract import StoreError

from .whole_file import check_target, whole_file

__all__ = ["copy_file", "open_moment"]

_BUSY = 10.0  # seconds to wait for a server that opens or closes the file just now
_STEP = 1000  # pages between two calls of `progress`


def copy_file(
    source: Path, target: Path, *, force: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Copy a SQLite file that may be in use.

    Args:
        source: the file.
        target: the copy, which appears under this name when it is complete and on the disk.
        force: replace a file of that name.
        progress: is told now and then how many pages of how many are copied.

    Raises:
        StoreError: it cannot be read, or the copy not be written; nothing is left of it.
    """
    if not source.is_file():
        raise StoreError(f"there is no store {str(source)!r} to copy")
    check_target(target, force=force)
    if target.exists() and target.samefile(source):
        raise StoreError(f"{target} is the store itself: name another file")
    with whole_file(target, force=force, mode=source.stat().st_mode & 0o777) as path:
        _copy(source, path, target, progress)


def _copy(source: Path, copy: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    def report(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    try:
        with closing(open_moment(source)) as there, closing(sqlite3.connect(copy, isolation_level=None)) as here:
            here.execute("PRAGMA synchronous=OFF")  # nobody has it before all of it is on the disk
            there.backup(here, pages=_STEP, progress=report, sleep=0)
            here.execute("PRAGMA journal_mode=DELETE")  # one file, complete by itself
            (found,) = here.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StoreError(f"{target} cannot be written: {error}") from error
        raise StoreError(f"{source} cannot be copied: {error}") from error
    if found != "ok":
        raise StoreError(f"{source} is damaged, and was not copied: {found}")


def open_moment(source: Path) -> sqlite3.Connection:
    """Begin to read one moment of a store, whatever is written meanwhile.

    Beside a server nothing is written. Without one the log is not there, which a reader has to make; only one that may
    write deletes it again. Where nobody may write, the file stays as it is.
    """
    ways = ["mode=ro"] if os.path.exists(f"{os.path.realpath(source)}-wal") else ["mode=rw", "mode=ro&immutable=1"]
    for way in ways:
        uri = f"{source.absolute().as_uri()}?{way}"
        there = sqlite3.connect(uri, uri=True, timeout=_BUSY, isolation_level=None)
        try:
            there.execute("BEGIN")
            there.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            there.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if way == ways[-1] or code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
        else:
            break
    return there
