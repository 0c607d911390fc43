"""Jobs say when what they left in the store was cleared away."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("jobs", sa.Column("cleared_at", sa.BigInteger()))


def downgrade() -> None:
    """Drops the column."""
    op.drop_column("jobs", "cleared_at")
