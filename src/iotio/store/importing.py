"""Read what an export holds into a store that is empty; see docs/reference/export.md."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from iotio.core.storage.contract import StoreError

from .database import Database
from .exporting import END, FORM, VERSION
from .kinds import KINDS, Kind
from .rows import DamagedRow
from .schema import upgrade

__all__ = ["import_database"]

_MOST = 64 * 1024 * 1024  # bytes of a line: more than any record has
_AT_ONCE = 1000  # rows that are written by one call, and the bytes of their lines, but for the last one
_MOST_AT_ONCE = 1024 * 1024
_GZIP = b"\x1f\x8b"

Progress = Callable[[int, int], None]


def import_database(source: Path, database: Database, *, progress: Progress | None = None) -> int:
    """Put what an export holds into a store, all of it or nothing.

    Args:
        source: the file; as it was exported, or uncompressed.
        database: which nobody uses, and which holds no devices.
        progress: is told now and then how many bytes of how many are read.

    Returns:
        How many records it were.

    Raises:
        StoreError: the file cannot be read, or the store is in use, not empty or cannot be written.
    """
    try:
        with open(source, "rb") as raw, _unpacked(raw) as file:
            lines = _Lines(source, raw, file, progress or (lambda done, total: None))
            lines.check_head()
            return _import(lines, database)
    except OSError as error:
        raise StoreError(f"{source} cannot be read: {error.strerror or error}") from error


def _import(lines: _Lines, database: Database) -> int:
    with database.says("cannot be written"):
        try:
            connection = database.connect()
            try:
                with connection.begin():
                    upgrade(connection, database.name)
                    _check_empty(connection, database)
                    done = _insert_all(connection, lines)
                database.connected(connection)
            finally:
                connection.close()
        finally:
            database.release()
    return done


def _check_empty(connection: Connection, database: Database) -> None:
    for kind in KINDS:
        if connection.execute(select(kind.table).limit(1)).first() is not None:
            raise StoreError(f"{database.name} is not empty: import into a new store, or delete this one before")


def _insert_all(connection: Connection, lines: _Lines) -> int:
    done = 0
    written = lines.size
    rows: list[Mapping[str, Any]] = []
    before: Kind | None = None
    for kind, row in lines.records():
        if rows and (kind is not before or len(rows) >= _AT_ONCE or lines.size - written >= _MOST_AT_ONCE):
            _insert(connection, lines, before, rows)
            written = lines.size
        before = kind
        rows.append(row)
        done += 1
    if rows:
        _insert(connection, lines, before, rows)
    return done


def _insert(connection: Connection, lines: _Lines, kind: Kind | None, rows: list[Mapping[str, Any]]) -> None:
    assert kind is not None
    try:
        connection.execute(kind.table.insert(), rows)
    except IntegrityError as error:
        raise lines.wrong(f"it, or one of the {_AT_ONCE} lines before, has the key of another {kind.name}") from error
    rows.clear()


class _Lines:
    """The lines of an export.

    Attributes:
        size: bytes of the lines that were read.

    Args:
        source: its name.
        raw: the file; how far it is read tells the progress.
        file: what is in it.
        progress: see `import_database`.
    """

    def __init__(self, source: Path, raw: BinaryIO, file: BinaryIO, progress: Progress) -> None:
        self._source = source
        self._raw = raw
        self._size = os.fstat(raw.fileno()).st_size
        self._file = file
        self._progress = progress
        self._number = 0
        self.size = 0

    def check_head(self) -> None:
        """Read the first line, which says what the file is.

        Raises:
            StoreError: it is no export, or one of a newer version.
        """
        try:
            head = self._next()
        except StoreError:
            head = None
        version = head.get("version") if head is not None and head.get("iotio") == FORM else None
        if type(version) is not int or version < 1:
            raise StoreError(f"{self._source} is no export of iotio: name a file that iotio export has written")
        if version > VERSION:
            raise StoreError(
                f"{self._source} has the form {version} of a newer iotio, this one knows the forms up to {VERSION}:"
                " install the newer iotio (pip install --upgrade iotio)"
            )

    def records(self) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
        """Read the rows of all records, each with its kind.

        Raises:
            StoreError: a line is damaged, or the end is missing; the text has the number of the line.
        """
        kinds = {kind.name: kind for kind in KINDS}
        done = 0
        while (members := self._next()) is not None and (name := members.pop("record", None)) != END:
            kind = kinds.get(name) if isinstance(name, str) else None
            if kind is None:
                raise self.wrong(f"{name!r} is no kind of record that this iotio knows")
            try:
                row = kind.read(members)
            except DamagedRow as error:
                raise self.wrong(str(error)) from error
            yield kind, row
            done += 1
            if done % _AT_ONCE == 0:
                self._progress(self._raw.tell(), self._size)
        if members is None:
            raise StoreError(f"{self._source} is cut off after line {self._number}: export again, or copy it again")
        if members.get("records") != done:
            raise self.wrong(f"it tells of {members.get('records')!r} records, but there are {done}")
        if self._read(1):  # the check sum stands at the end of the file
            raise self.wrong("it is not the last one")
        self._progress(self._size, self._size)

    def wrong(self, why: str) -> StoreError:
        """Return the error for the line that was read last."""
        return StoreError(f"{self._source}, line {self._number}: {why}; nothing was imported")

    def _read(self, most: int) -> bytes:
        """Read a line, or so many bytes of it."""
        try:
            return self._file.readline(most)
        except (EOFError, zlib.error, OSError) as error:
            raise StoreError(
                f"{self._source} is cut off or damaged after line {self._number}: {error}; nothing was imported"
            ) from error

    def _next(self) -> dict[str, Any] | None:
        """Read a line, or None at the end of the file."""
        line = self._read(_MOST + 1)
        if not line.endswith(b"\n") and len(line) <= _MOST:
            return None
        self._number += 1
        self.size += len(line)
        if len(line) > _MOST:
            raise self.wrong(f"it has more than {_MOST} bytes")
        try:
            members = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self.wrong(f"it is no JSON: {error}") from error
        if not isinstance(members, dict):
            raise self.wrong("it is no JSON object")
        return members


@contextmanager
def _unpacked(raw: BinaryIO) -> Iterator[BinaryIO]:
    """Open what is in a file, which may be compressed."""
    begin = raw.read(len(_GZIP))
    raw.seek(0)
    if begin != _GZIP:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="rb") as file:
        yield file  # type: ignore[misc]  # it can all that is used of it
