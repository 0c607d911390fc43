"""Uploads that are being dropped say so; jobs count their failures, and rest after one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns. Rows that are there have failed at nothing."""
    nothing, no = sa.text("0"), sa.false()
    op.add_column("uploads", sa.Column("dropped", sa.Boolean(), nullable=False, server_default=no))
    op.add_column(
        "jobs", sa.Column("failures", sa.BigInteger(), nullable=False, server_default=nothing)
    )
    op.add_column("jobs", sa.Column("not_before", sa.BigInteger()))


def downgrade() -> None:
    """Drops the columns."""
    op.drop_column("jobs", "not_before")
    op.drop_column("jobs", "failures")
    op.drop_column("uploads", "dropped")
