"""Subtitles come beside a master: the languages of them, by commas."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns."""
    for table in ("uploads", "jobs"):
        op.add_column(table, sa.Column("subtitles", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drops them."""
    for table in ("uploads", "jobs"):
        op.drop_column(table, "subtitles")
