"""Packages say since when another plays in their place; restores are remembered."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = sa.BigInteger()


def upgrade() -> None:
    """Adds the column, and the table. Of a package that plays no more it is not known since when:
    at the latest since the title's last one was made."""
    op.add_column("packages", sa.Column("superseded_at", MOMENT))
    op.create_index("ix_packages_superseded_at", "packages", ["superseded_at"])
    op.execute(
        "UPDATE packages SET superseded_at = (SELECT MAX(other.created_at) FROM packages AS other"
        " WHERE other.title_id = packages.title_id)"
        " WHERE package_id NOT IN (SELECT package_id FROM titles WHERE package_id IS NOT NULL)"
    )
    op.create_table(
        "restores",
        sa.Column("restored_at", MOMENT, nullable=False),
        sa.Column("backup_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("restored_at", name="pk_restores"),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("restores")
    op.drop_index("ix_packages_superseded_at", "packages")
    op.drop_column("packages", "superseded_at")
