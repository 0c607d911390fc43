"""Plans, what is known of titles and who may see them, histories, and a search."""

import hashlib
import re
import unicodedata

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ID = sa.String(30)
MOMENT = sa.BigInteger()


def upgrade() -> None:
    """Makes the tables, adds the columns, and indexes the titles that there are."""
    op.create_table(
        "plans",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("max_height", sa.BigInteger()),
        sa.Column("codecs", sa.Text()),
        sa.Column("streams", sa.BigInteger()),
        sa.Column("regions", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_plans"),
    )
    # In its own words: to make the table anew, as SQLite's way is, would drop the old one, and with
    # it by ON DELETE CASCADE all that belongs to users.
    op.execute(
        "ALTER TABLE users ADD COLUMN plan VARCHAR(32)"
        " CONSTRAINT fk_users_plan REFERENCES plans (name)"
    )
    op.create_index("ix_users_plan", "users", ["plan"])
    for column in (
        sa.Column("about", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("maturity", sa.BigInteger()),
        sa.Column("regions", sa.Text()),
        sa.Column("available_from", MOMENT),
        sa.Column("available_until", MOMENT),
    ):
        op.add_column("titles", column)
    for column in (
        sa.Column("profile_id", ID, nullable=False, server_default=""),
        sa.Column("renditions", sa.Text()),
        sa.Column("streams", sa.BigInteger()),
    ):
        op.add_column("sessions", column)
    op.create_table(
        "watched",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("profile_id", ID, nullable=False),
        sa.Column("title_id", ID, nullable=False),
        sa.Column("region", sa.String(32), nullable=False),
        sa.Column("position_s", sa.Float(), nullable=False),
        sa.Column("finished", sa.Boolean(), nullable=False),
        sa.Column("watched_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "profile_id", "title_id", name="pk_watched"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name="fk_watched_user_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["title_id"], ["titles.title_id"], name="fk_watched_title_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_watched_title_id", "watched", ["title_id"])
    op.create_index("ix_watched_user_id", "watched", ["user_id", "profile_id", "watched_at"])
    op.create_index("ix_watched_region", "watched", ["region", "watched_at"])
    _make_search()


def downgrade() -> None:
    """Drops them. Not on SQLite, which drops no column that refers to another table, and would
    lose what belongs to users if the table were made anew: there a backup is the way back."""
    if op.get_bind().dialect.name == "sqlite":
        raise CommandError("On SQLite there is no way back from revision 0008: restore a backup.")
    op.drop_table("title_search")
    op.drop_table("watched")
    for column in ("profile_id", "renditions", "streams"):
        op.drop_column("sessions", column)
    for column in ("about", "maturity", "regions", "available_from", "available_until"):
        op.drop_column("titles", column)
    op.drop_index("ix_users_plan", "users")
    op.drop_column("users", "plan")
    op.drop_table("plans")


def _make_search() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE title_search USING fts5(title_id UNINDEXED, words, "
            "prefix='1 2 3', tokenize='unicode61 remove_diacritics 0')"
        )
        insert = "INSERT INTO title_search (rowid, title_id, words) VALUES (:number, :id, :words)"
    else:
        op.execute(
            "CREATE TABLE title_search (title_id VARCHAR(30) PRIMARY KEY "
            "REFERENCES titles (title_id) ON DELETE CASCADE, words TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX ix_title_search_words ON title_search USING GIN (words)")
        insert = (
            "INSERT INTO title_search (title_id, words) "
            "VALUES (:id, array_to_tsvector(string_to_array(:words, ' ')))"
        )
    for title_id, name in connection.execute(sa.text("SELECT title_id, name FROM titles")).all():
        # As it was when this step was written: the search itself may change later.
        plain = unicodedata.normalize("NFKD", name).casefold()
        plain = "".join(c for c in plain if not unicodedata.combining(c))
        words = " ".join(sorted(set(re.findall(r"[^\W_]+", plain))))
        if words:
            row = {"number": _number(title_id), "id": title_id, "words": words}
            connection.execute(sa.text(insert), {k: row[k] for k in row if f":{k}" in insert})


def _number(title_id: str) -> int:
    """The row of a title in SQLite's index, which goes by numbers: 63 bits of a digest."""
    return int.from_bytes(hashlib.sha256(title_id.encode()).digest()[:8], "big") >> 1
