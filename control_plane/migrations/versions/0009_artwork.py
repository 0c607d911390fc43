"""Titles have artwork: one that was given, or the poster of their package."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; empty: none."""
    for table, name, length in (("titles", "artwork", 90), ("packages", "poster_sha256", 64)):
        column = sa.Column(name, sa.String(length), nullable=False, server_default="")
        op.add_column(table, column)


def downgrade() -> None:
    """Drops them."""
    op.drop_column("packages", "poster_sha256")
    op.drop_column("titles", "artwork")
