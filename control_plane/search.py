"""The search over titles: every word that is asked for begins a word of the title.

SQLite has FTS5, PostgreSQL a GIN index over tsvector. Both get words that are cut and folded here,
so that both find the same: the tokenizers and dictionaries of their own differ.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from sqlalchemy import ColumnElement, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.tables import TitleRow

_WORD = re.compile(r"[^\W_]+")
# Of what somebody types, and of what there is to say about a title.
MAX_ASKED = 10
MAX_WORDS = 2000
MAX_CHARS = 60


def words_of(text: str) -> list[str]:
    """The words, without case and accents, in their order; pure."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [word[:MAX_CHARS] for word in _WORD.findall(plain)]


async def index(session: AsyncSession, title_id: str, said: Iterable[str]) -> None:
    """The title is found by what is said of it, and by nothing that was said before."""
    given = _entry(title_id, said)
    for statement in _STATEMENTS[session.get_bind().dialect.name][:2]:
        await _execute(session, statement, given)


async def index_fresh(session: AsyncSession, titles: Iterable[tuple[str, Iterable[str]]]) -> None:
    """These titles, which the index does not have, are found by what is said of them."""
    insert = _STATEMENTS[session.get_bind().dialect.name][1]
    asked = insert.compile().params
    entries = [_entry(*title) for title in titles]
    await session.execute(insert, [{name: entry[name] for name in asked} for entry in entries])


async def forget_all(session: AsyncSession) -> None:
    """Nothing is in the index."""
    await session.execute(text("DELETE FROM title_search"))


async def forget(session: AsyncSession, title_id: str) -> None:
    """Nothing is left of the title in the index."""
    statement = _STATEMENTS[session.get_bind().dialect.name][0]
    await _execute(session, statement, {"number": _number(title_id), "id": title_id})


def matching(dialect: str, q: str) -> ColumnElement[bool]:
    """Whether a title has, for each word of `q`, one that begins with it. When there is no word in
    it, whether the title's name is just that."""
    words = words_of(q)[:MAX_ASKED]
    if not words:
        return TitleRow.folded == q.casefold()
    found = _STATEMENTS[dialect][2].bindparams(q=_query(dialect, words))
    return TitleRow.title_id.in_(found.columns(TitleRow.title_id))


async def _execute(session: AsyncSession, statement: TextClause, given: dict[str, object]) -> None:
    """With as much of what is given as the statement asks for."""
    await session.execute(statement, {name: given[name] for name in statement.compile().params})


def _entry(title_id: str, said: Iterable[str]) -> dict[str, object]:
    words = sorted({word for one in said for word in words_of(one)})[:MAX_WORDS]
    return {"number": _number(title_id), "id": title_id, "words": " ".join(words)}


def _query(dialect: str, words: list[str]) -> str:
    if dialect == "sqlite":
        return " ".join(f'"{word}"*' for word in words)
    return " & ".join(f"'{word}':*" for word in words)


_STATEMENTS: dict[str, tuple[TextClause, TextClause, TextClause]] = {
    "sqlite": (
        text("DELETE FROM title_search WHERE rowid = :number"),
        text("INSERT INTO title_search (rowid, title_id, words) VALUES (:number, :id, :words)"),
        text("SELECT title_id FROM title_search WHERE words MATCH :q"),
    ),
    "postgresql": (
        text("DELETE FROM title_search WHERE title_id = :id"),
        # Words as they are: to_tsvector would cut and change them once more.
        text(
            "INSERT INTO title_search (title_id, words) "
            "VALUES (:id, array_to_tsvector(string_to_array(:words, ' ')))"
        ),
        text("SELECT title_id FROM title_search WHERE words @@ CAST(:q AS tsquery)"),
    ),
}


def _number(title_id: str) -> int:
    """The row of a title in SQLite's index, which goes by numbers: 63 bits of a digest."""
    return int.from_bytes(hashlib.sha256(title_id.encode()).digest()[:8], "big") >> 1
