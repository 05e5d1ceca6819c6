"""The tables: that the migrations make them, and that they hold every field of the records."""

from __future__ import annotations

from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Table, create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from iotio.core.storage.records import DeviceRecord, MessageRecord
from iotio.store import open_store
from iotio.store.tables import SCHEMA_TABLE, devices, messages, metadata

from .records import message


@pytest.mark.parametrize(("table", "record"), [(devices, DeviceRecord), (messages, MessageRecord)])
def test_each_field_of_a_record_has_a_column(table: Table, record: type[DeviceRecord | MessageRecord]) -> None:
    assert {column.name for column in table.c} == {field.name for field in fields(record)}


def test_the_columns_of_a_message_are_in_the_order_of_its_fields() -> None:
    """A row is read as the arguments of the record."""
    assert [column.name for column in messages.c] == [field.name for field in fields(MessageRecord)]


def test_no_table_bears_a_name_that_the_program_may_use() -> None:
    """It may keep tables of its own in the same file, with Alembic."""
    state = {"iotio_twins", "iotio_series", "iotio_tail", "iotio_chunks", "iotio_quarters"}
    assert {*metadata.tables, SCHEMA_TABLE} == {"iotio_devices", "iotio_messages", "iotio_schema"} | state


def test_the_migrations_lead_to_the_tables_of_the_code(url: str) -> None:
    open_store(url).close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        options = {
            "version_table": SCHEMA_TABLE,
            "compare_type": True,
            "include_name": lambda name, kind, parents: name != "iotio_owner",  # of PostgreSQL alone
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_number_is_given_once_for_each_device(path: Path) -> None:
    open_store(f"sqlite:///{path}").close()
    row = {field.name: getattr(message(1), field.name) for field in fields(MessageRecord)}
    engine = create_engine(f"sqlite:///{path}")
    with closing(engine.connect()) as connection:
        connection.execute(insert(messages), [row, {**row, "device_id": "other"}, {**row, "number": 2**63 - 1}])
        with pytest.raises(IntegrityError, match="UNIQUE constraint failed"):
            connection.execute(insert(messages), row)
        found = connection.execute(select(messages.c.number).order_by(messages.c.number))
        assert [number for (number,) in found] == [1, 1, 2**63 - 1]
    engine.dispose()
