"""Where devices and durable messages outlive the process.

The contract is `iotio.core.storage.contract`. The packages for a database are imported when one is opened, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from iotio.core.storage.contract import Store, StoreError

from .memory import MemoryStore

if TYPE_CHECKING:
    from .database import Database

__all__ = ["MemoryStore", "backup_store", "export_store", "import_store", "open_store"]

_DAMAGED = ("refuse", "set_aside")


def open_store(url: str, *, damaged: Literal["refuse", "set_aside"] = "refuse") -> Store:
    """Open the store at this URL.

    Args:
        url: "sqlite:///iotio.db" for a file in the working directory, "sqlite:////var/lib/iotio.db" for one anywhere,
            "postgresql://user@host/database" for a database of PostgreSQL, which needs the extra `postgres`.
        damaged: what becomes of a file that cannot be read: "refuse" raises a StoreError, "set_aside" gives it another
            name and begins anew. A single row that cannot be read is always set aside.

    Returns:
        The store, open.

    Raises:
        StoreError: there is no such kind of store, or it cannot be opened; the text says what to do.
        ValueError: there is no such `damaged`.
    """
    if damaged not in _DAMAGED:
        raise ValueError(f"damaged is one of {', '.join(_DAMAGED)}, not {damaged!r}")
    database = _database(url, damaged)
    from .sql import SqlStore

    store = SqlStore(database)
    try:
        store.open()
    except StoreError as error:
        raise error from None  # its text has the reason: no tracebacks of the database before it
    return store


def _database(url: str, damaged: Literal["refuse", "set_aside"] = "refuse") -> Database:
    """Find the database at a URL, which is not open yet.

    Raises:
        StoreError: there is no such kind of store, or it cannot be one.
    """
    kind = url.partition(":")[0]
    if kind == "sqlite":
        from .sqlite import SqliteDatabase

        return SqliteDatabase(url, damaged=damaged)
    if kind == "postgresql":
        from .postgresql import PostgresDatabase

        try:
            return PostgresDatabase(url)
        except StoreError as error:
            raise error from None  # its text has the reason
    raise StoreError(
        f"there is no store for {kind!r}: write sqlite:///iotio.db, with the name of your file,"
        " or postgresql://user@host/database"
    )


def backup_store(
    url: str, target: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Copy the store at a URL to a file, beside a program that uses it or without one; see `Store.backup`.

    Raises:
        StoreError: it cannot be copied; the text says what to do.
    """
    _database(url).backup(target, force=force, progress=progress)


def export_store(
    url: str, target: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write all that the store at a URL holds to a file, beside a program that uses it or without one.

    Args:
        url: of the store.
        target: the file, of lines of JSON compressed by gzip, which has this name when it is complete.
        force: replace a file of that name.
        progress: is told now and then how many records of how many are written.

    Raises:
        StoreError: the store cannot be read, or the file not be written; nothing is left of it then.
    """
    database = _database(url)
    from .exporting import export_database

    export_database(database, Path(target).absolute(), force=force, progress=progress)


def import_store(source: str, url: str, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Put what an export holds into the store at a URL, all of it or nothing.

    Args:
        source: the file.
        url: of the store, which nobody uses; one that holds something already is refused.
        progress: is told now and then how many bytes of how many are read.

    Returns:
        How many records it were.

    Raises:
        StoreError: the file cannot be read, or the store not be written; the text says what to do.
    """
    database = _database(url)
    from .importing import import_database

    try:
        return import_database(Path(source).absolute(), database, progress=progress)
    except StoreError as error:
        raise error from None
