"""Devices, and the durable messages that wait for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from iotio.store.any_text import AnyText

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "iotio_devices",
        sa.Column("id", AnyText, primary_key=True),
        sa.Column("type", AnyText, nullable=False),
        sa.Column("data", AnyText),
        sa.Column("rooms", AnyText, nullable=False),
        sa.Column("presence", AnyText, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=False),
        sa.Column("stream", AnyText, nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("heard_stream", AnyText),
        sa.Column("heard", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "iotio_messages",
        sa.Column("device_id", AnyText, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("id", AnyText, nullable=False),
        sa.Column("event", AnyText, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("coalesce", AnyText),
    )
