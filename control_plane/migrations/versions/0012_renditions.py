"""What each rendition of a package takes: so that a part of it can be placed."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Packages that there are stay without, and are placed as a whole."""
    op.add_column("packages", sa.Column("renditions", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Forgets them."""
    op.drop_column("packages", "renditions")
