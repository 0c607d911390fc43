"""Titles by what people call them: commands take an id, a name, or as much of one as is clear."""

import re
from collections.abc import AsyncIterator

from media.api import Title
from media.ids import ID
from runtime.control_api import ControlApi
from runtime.errors import Problem

_TITLE_ID = re.compile(rf"ttl_{ID}")
_PAGE = 200  # the most that the control plane gives at a time
_MAX_PAGES = 500
_MAX_NAME_CHARS = 200


async def find_title(api: ControlApi, name: str) -> Title:
    """The title of this id or name; a part of a name does when only one title has it. Raises
    Problem `unknown_title`, or `bad_request` when several fit."""
    if is_title_id(name):
        return await api.title(name)
    fits = 0 < len(name) <= _MAX_NAME_CHARS
    found = [title async for title in all_titles(api, name)] if fits else []
    near = [title for title in found if name.casefold() in title.name.casefold()]
    exact = [title for title in near if title.name.casefold() == name.casefold()]
    found = exact or near
    if not found:
        raise Problem("unknown_title", f"There is no title {name!r}.")
    if len(found) > 1:
        ids = ", ".join(title.title_id for title in found[:5])
        raise Problem("bad_request", f"Several titles fit {name!r}; name one by its id: {ids}.")
    return found[0]


async def all_titles(api: ControlApi, search: str = "") -> AsyncIterator[Title]:
    """Every title that the search finds, the newest first."""
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await api.titles(q=search or None, cursor=cursor, limit=_PAGE)
        for title in page.titles:
            yield title
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def is_title_id(text: str) -> bool:
    """Whether this is an id, and not a name."""
    return _TITLE_ID.fullmatch(text) is not None
