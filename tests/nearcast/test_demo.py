"""Which title the demo plays."""

import hashlib
from pathlib import Path

from nearcast.demo import title_made_of
from runtime.control_api import ControlApi
from tests.control_plane.house import MASTER, open_house


async def test_a_film_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(MASTER)
    async with open_house(tmp_path) as house:
        api = ControlApi(await house.account("operator"))
        await house.upload("Film", sha256=hashlib.sha256(MASTER).hexdigest())
        assert await title_made_of(api, "Film", film) is None  # not encoded yet
        done = await house.complete(await house.lease())
        found = await title_made_of(api, "Film", film)
        assert found is not None and found.title_id == done["title_id"]
        assert await title_made_of(api, "Fil", film) is None
        film.write_bytes(MASTER + b"another")
        assert await title_made_of(api, "Film", film) is None
