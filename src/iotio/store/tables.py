"""The tables as this version has them; `migrations` makes them. Times are wall-clock seconds since 1970."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, MetaData, Table

from .any_text import AnyText

__all__ = ["SCHEMA_TABLE", "devices", "messages", "metadata", "set_aside"]

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
