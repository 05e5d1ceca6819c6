"""Write all that a store holds to a file of lines of JSON, compressed by gzip; see docs/reference/export.md."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

from sqlalchemy import ColumnElement, Connection, func, literal, select

from iotio.core.storage.contract import StoreError
from iotio.core.storage.records import write_json

from .database import Database
from .kinds import KINDS, Kind
from .reading import read_rows
from .rows import DamagedRow, shown
from .schema import check
from .whole_file import check_target, whole_file

__all__ = ["END", "FORM", "VERSION", "export_database"]

FORM = "export"
END = "end"  # the last line, so that a file that was cut off is noticed
VERSION = 1  # of the form; a file of a later one is refused

_NO_ID: ColumnElement[int | str] = literal(0)  # not every table has numbers of its rows
_STEP = 1000  # records between two calls of `progress`


def export_database(
    database: Database, target: Path, *, force: bool = False, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write all that is stored at one moment to a file, beside a program that uses it or without one.

    Args:
        database: which is only read.
        target: the file, which appears under this name when it is complete and on the disk.
        force: replace a file of that name.
        progress: is told now and then how many records of how many are written.

    Raises:
        StoreError: it cannot be read, or the file not be written; nothing is left of it.
    """
    check_target(target, force=force)
    if database.is_file(target):
        raise StoreError(f"{target} is the store itself: name another file")
    with database.says("cannot be read"), database.reading() as connection:
        check(connection, database.name)
        with (
            whole_file(target, force=force) as path,
            open(path, "wb") as raw,
            # Neither time nor name: the same records are the same bytes.
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as file,
        ):
            _write(database, connection, cast(BinaryIO, file), progress or (lambda done, total: None))


def _write(database: Database, connection: Connection, file: BinaryIO, progress: Callable[[int, int], None]) -> None:
    counts = [select(func.count()).select_from(kind.table) for kind in KINDS]
    total = sum(connection.execute(count).scalar_one() for count in counts)
    file.write(write_json({"iotio": FORM, "version": VERSION}) + b"\n")
    done = 0
    with database.reads_anything(connection):
        for kind in KINDS:
            with closing(read_rows(connection, kind.table, _NO_ID)) as rows:
                for _, row in rows:
                    file.write(_line(database, kind, row))
                    done += 1
                    if done % _STEP == 0:
                        progress(done, total)
    file.write(write_json({"record": END, "records": done}) + b"\n")
    progress(done, total)


def _line(database: Database, kind: Kind, row: Mapping[str, Any]) -> bytes:
    try:
        members = kind.to_json(row)
    except DamagedRow as error:
        key = [shown(row[column.name]) for column in kind.table.primary_key.columns]
        raise StoreError(
            f"{database.name}: the {kind.name} {', '.join(key)} cannot be read: {error};"
            " start the server once, which sets it aside"
        ) from error
    return write_json({"record": kind.name, **members}) + b"\n"
