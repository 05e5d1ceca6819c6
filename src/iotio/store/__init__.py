"""Where devices and durable messages outlive the process.

The contract is `iotio.core.storage.contract`. The packages for a database are imported when one is opened, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from iotio.core.storage.contract import Store, StoreError

from .memory import MemoryStore

__all__ = ["MemoryStore", "backup_store", "open_store"]

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
    try:
        store = _sql_store(url, damaged)
        store.open()
    except StoreError as error:
        raise error from None  # its text has the reason: no tracebacks of the database before it
    return store


def _sql_store(url: str, damaged: Literal["refuse", "set_aside"] = "refuse") -> Store:
    """Make the store at a URL, which is not open yet."""
    kind = url.partition(":")[0]
    if kind not in ("sqlite", "postgresql"):
        raise StoreError(
            f"there is no store for {kind!r}: write sqlite:///iotio.db, with the name of your file,"
            " or postgresql://user@host/database"
        )
    from .sql import SqlStore

    if kind == "sqlite":
        from .sqlite import SqliteDatabase

        return SqlStore(SqliteDatabase(url, damaged=damaged))
    from .postgresql import PostgresDatabase

    return SqlStore(PostgresDatabase(url))


def backup_store(
    url: str, target: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Copy the store at a URL to a file, beside a program that uses it or without one; see `Store.backup`.

    Raises:
        StoreError: it cannot be copied; the text says what to do.
    """
    if url.partition(":")[0] not in ("sqlite", "postgresql"):
        raise StoreError("only a store of SQLite can be copied by this: use the tool of your database")
    try:
        store = _sql_store(url)
    except StoreError as error:
        raise error from None
    store.backup(target, force=force, progress=progress)
