"""The tables as this version has them; `migrations` makes them.

Times are wall-clock seconds since 1970; those of the history ms since 1970.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Float, Integer, LargeBinary, MetaData, Table

from .any_text import AnyText

__all__ = [
    "SCHEMA_TABLE",
    "chunks",
    "devices",
    "messages",
    "metadata",
    "quarters",
    "series",
    "set_aside",
    "tail",
    "twins",
]

SCHEMA_TABLE = "iotio_schema"
"""Holds the version of the schema. Not Alembic's own name: the program may keep tables of its own in the same file."""

metadata = MetaData()

devices = Table(
    "iotio_devices",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("type", AnyText, nullable=False),
    Column("data", AnyText),  # JSON, NULL for None
    Column("rooms", AnyText, nullable=False),  # JSON
    Column("presence", AnyText, nullable=False),
    Column("since", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    Column("wakes", Float),
    Column("returned", Boolean, nullable=False),
    Column("declaration", AnyText),  # JSON
    Column("name", AnyText, nullable=False),
    Column("note", AnyText, nullable=False),
    Column("stream", AnyText, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("heard_stream", AnyText),
    Column("heard", BigInteger, nullable=False),
)

messages = Table(
    "iotio_messages",
    metadata,
    Column("device_id", AnyText, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("id", AnyText, nullable=False),
    Column("event", AnyText, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("coalesce", AnyText),
)

set_aside = Table(
    "iotio_set_aside",
    MetaData(),  # of its own: it is made for the first row that cannot be used
    Column("time", Float, nullable=False),
    Column("origin", AnyText, nullable=False),
    Column("why", AnyText, nullable=False),
    Column("content", AnyText, nullable=False),
)

# The history: see `iotio.history.tables`.

series = Table(
    "iotio_series",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("device_id", AnyText, nullable=False),
    Column("endpoint_id", AnyText, nullable=False),
    Column("kind", AnyText, nullable=False),
    Column("unit", AnyText),
    Column("created", Float, nullable=False),
    Column("dropped", Boolean, nullable=False),
)

tail = Table(
    "iotio_tail",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

chunks = Table(
    "iotio_chunks",
    metadata,
    Column("series", BigInteger, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("stop", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("vmin", Double, nullable=False),
    Column("vmax", Double, nullable=False),
    Column("vsum", Double, nullable=False),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False),
    Column("increase", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,  # what belongs to one series lies together, and the key is there once
)

quarters = Table(
    "iotio_quarters",
    metadata,
    Column("series", BigInteger, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("vmin", Double, nullable=False),
    Column("vmax", Double, nullable=False),
    Column("vsum", Double, nullable=False),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False),
    Column("increase", Double, nullable=False),
    sqlite_with_rowid=False,
)

twins = Table(
    "iotio_twins",
    metadata,
    Column("device_id", AnyText, primary_key=True),
    Column("endpoint_id", AnyText, primary_key=True),
    Column("reported", AnyText, nullable=False),  # JSON
    Column("reported_at", Float),
    Column("desired", AnyText, nullable=False),  # JSON
    Column("desired_at", Float),
    Column("desired_by", AnyText, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("status", AnyText, nullable=False),
    Column("reason", AnyText, nullable=False),
    Column("expires", Float),
)
