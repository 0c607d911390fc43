"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(30)
MOMENT = sa.BigInteger()
DIGEST = sa.String(64)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "users",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "titles",
        sa.Column("title_id", ID, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("package_id", ID),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("published_at", MOMENT),
        sa.Column("deleted_at", MOMENT),
        sa.PrimaryKeyConstraint("title_id", name="pk_titles"),
    )
    op.create_table(
        "uploads",
        sa.Column("upload_id", ID, nullable=False),
        sa.Column("title_id", ID, nullable=False),
        sa.Column("store_key", sa.String(700), nullable=False),
        sa.Column("store_upload_id", sa.String(1024)),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("part_bytes", sa.BigInteger(), nullable=False),
        sa.Column("publish", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("job_id", ID),
        sa.PrimaryKeyConstraint("upload_id", name="pk_uploads"),
        _of_title("uploads"),
        sa.UniqueConstraint("store_key", name="uq_uploads_store_key"),
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("title_id", ID, nullable=False),
        sa.Column("package_id", ID, nullable=False),
        sa.Column("master_key", sa.String(700), nullable=False),
        sa.Column("master_sha256", DIGEST),
        sa.Column("publish", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(32)),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("fraction", sa.Float(), nullable=False),
        sa.Column("speed", sa.Float()),
        sa.Column("eta_s", sa.Float()),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("job_id", name="pk_jobs"),
        _of_title("jobs"),
        sa.UniqueConstraint("package_id", name="uq_jobs_package_id"),
    )
    op.create_table(
        "packages",
        sa.Column("package_id", ID, nullable=False),
        sa.Column("title_id", ID, nullable=False),
        sa.Column("inventory_sha256", DIGEST, nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("max_height", sa.BigInteger()),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("package_id", name="pk_packages"),
        _of_title("packages"),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("title_id", ID, nullable=False),
        sa.Column("package_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("inventory_sha256", DIGEST, nullable=False),
        sa.Column("ranking", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_sessions"),
        _of_title("sessions"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name="fk_sessions_user_id", ondelete="CASCADE"
        ),
    )
    for table, column in INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    """Drops the tables."""
    for table in ("sessions", "packages", "jobs", "uploads", "titles", "users"):
        op.drop_table(table)


INDEXES = (
    ("titles", "state"),
    ("titles", "deleted_at"),
    ("uploads", "title_id"),
    ("uploads", "created_at"),
    ("jobs", "title_id"),
    ("jobs", "state"),
    ("packages", "title_id"),
    ("sessions", "title_id"),
    ("sessions", "user_id"),
    ("sessions", "expires_at"),
)


def _of_title(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["title_id"], ["titles.title_id"], name=f"fk_{table}_title_id", ondelete="CASCADE"
    )
