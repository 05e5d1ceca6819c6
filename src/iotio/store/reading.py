"""Read the rows of a table as they are, whatever they hold."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, literal_column, select

from .any_text import AnyText

__all__ = ["read_rows"]

_AT_ONCE = 100  # rows in memory at a time: of durable messages, each may have some megabytes


def read_rows(
    connection: Connection, table: Table, row_id: ColumnElement[int | str]
) -> Generator[tuple[int | str, dict[str, Any]], None, None]:
    """Read all rows in the order of their keys. Text that cannot be decoded is bytes.

    Args:
        connection: in a transaction.
        table: the table.
        row_id: what tells a row from all others; see `Database.row_id`.

    Returns:
        A generator, to be closed before the connection is; for each row its `row_id`, and its values under the names
        of their columns.
    """
    # Without the types of the columns: SQLAlchemy would try to convert what the table should not hold.
    columns: list[ColumnElement[Any]] = [
        literal_column(f"{table.name}.{column.name}").label(column.name) for column in table.c
    ]
    texts = [column.name for column in table.c if isinstance(column.type, AnyText)]
    rows = select(row_id, *columns).select_from(table).order_by(*table.primary_key.columns)
    with connection.execute(rows, execution_options={"yield_per": _AT_ONCE}) as result:
        for number, *values in result:
            row = dict(zip(table.c.keys(), values, strict=True))
            for name in texts:
                if isinstance(row[name], bytes):
                    row[name] = _text_or_bytes(row[name])
            yield number, row


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
