"""Whether a device has come more than once; of those that are stored already nobody knows, so they have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("iotio_devices", sa.Column("returned", sa.Boolean, nullable=False, server_default=sa.true()))
