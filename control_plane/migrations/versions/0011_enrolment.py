"""Machines that enrol: invitations, and the keys of those that came."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NAME = sa.String(32)
DIGEST = sa.String(64)
MOMENT = sa.BigInteger()


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "invitations",
        sa.Column("appliance_id", NAME, nullable=False),
        sa.Column("site", NAME, nullable=False),
        sa.Column("token_sha256", DIGEST, nullable=False),
        sa.Column("used_by", DIGEST),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("appliance_id", name="pk_invitations"),
    )
    op.create_index("ix_invitations_expires_at", "invitations", ["expires_at"])
    op.create_table(
        "machines",
        sa.Column("appliance_id", NAME, nullable=False),
        sa.Column("site", NAME, nullable=False),
        sa.Column("ed25519", DIGEST),
        sa.Column("public_url", sa.String(200)),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("appliance_id", name="pk_machines"),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("machines")
    op.drop_table("invitations")
