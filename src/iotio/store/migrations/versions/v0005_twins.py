"""What endpoints of devices are, and what they should be; what people call devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from iotio.store.any_text import AnyText

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("name", "note"):
        op.add_column("iotio_devices", sa.Column(name, AnyText, nullable=False, server_default=""))
    op.create_table(
        "iotio_twins",
        sa.Column("device_id", AnyText, primary_key=True),
        sa.Column("endpoint_id", AnyText, primary_key=True),
        sa.Column("reported", AnyText, nullable=False),
        sa.Column("reported_at", sa.Float),
        sa.Column("desired", AnyText, nullable=False),
        sa.Column("desired_at", sa.Float),
        sa.Column("desired_by", AnyText, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("status", AnyText, nullable=False),
        sa.Column("reason", AnyText, nullable=False),
        sa.Column("expires", sa.Float),
    )
