"""Jobs have a priority, and say in how many chunks they are encoded."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns."""
    for table in ("uploads", "jobs"):
        column = sa.Column("priority", sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, column)
    for name in ("chunks", "chunks_done"):
        op.add_column("jobs", sa.Column(name, sa.BigInteger()))


def downgrade() -> None:
    """Drops them."""
    for name in ("chunks", "chunks_done"):
        op.drop_column("jobs", name)
    for table in ("uploads", "jobs"):
        op.drop_column(table, "priority")
