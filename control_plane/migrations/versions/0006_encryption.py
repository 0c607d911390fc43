"""Packages may be encrypted, if the upload asks for it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = ("uploads", "jobs", "packages")


def upgrade() -> None:
    """Adds the columns; empty: in the clear."""
    for table in _TABLES:
        column = sa.Column("encryption", sa.String(4), nullable=False, server_default="")
        op.add_column(table, column)


def downgrade() -> None:
    """Drops them."""
    for table in _TABLES:
        op.drop_column(table, "encryption")
