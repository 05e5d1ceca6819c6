"""Until when a device that is asleep announced to sleep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("iotio_devices", sa.Column("wakes", sa.Float))
