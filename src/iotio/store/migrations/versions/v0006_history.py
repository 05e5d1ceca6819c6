"""What endpoints were: series, the tail of readings, chunks of them, and statistics by quarter of an hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from iotio.store.any_text import AnyText

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "iotio_series",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("device_id", AnyText, nullable=False),
        sa.Column("endpoint_id", AnyText, nullable=False),
        sa.Column("kind", AnyText, nullable=False),
        sa.Column("unit", AnyText),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("dropped", sa.Boolean, nullable=False),
    )
    op.create_table(
        "iotio_tail",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "iotio_chunks",
        sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stop", sa.BigInteger, nullable=False),
        *_statistics(),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "iotio_quarters",
        sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        *_statistics(),
        sqlite_with_rowid=False,
    )


def _statistics() -> list[sa.Column[float]]:
    names = ("vmin", "vmax", "vsum", "first", "last", "increase")
    return [sa.Column("n", sa.Integer, nullable=False), *(sa.Column(name, sa.Double, nullable=False) for name in names)]
