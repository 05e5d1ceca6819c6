"""What a device has declared; of those that are stored already it is known when they connect again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from iotio.store.any_text import AnyText

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("iotio_devices", sa.Column("declaration", AnyText))
