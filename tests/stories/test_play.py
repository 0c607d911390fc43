"""Playing, as each region would: who serves, what is served, and that it decodes."""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from media.api import NewSession
from nearcast.walk import Walker, decode_errors
from runtime.console import signed_in
from tests.running import FRAMES, Running
from tests.stories.test_browser import served
from tests.stories.test_fleet import eventually

REGIONS = ("north", "south", "west")


@pytest.mark.parametrize("region", REGIONS)
def test_a_session_starts_at_its_own_site(
    cluster: Running, film: dict[str, Any], region: str
) -> None:
    ranking = cluster.nearcast("steer", film["title_id"], "--region", region)
    first = ranking["pathways"][0]
    assert first["site"] == region and first["reasons"]
    assert len({pathway["appliance_id"] for pathway in ranking["pathways"]}) >= 2
    session = cluster.nearcast("play", "Twelve", "--region", region, "--player", "url")
    assert session["pathways"][0]["appliance_id"] == first["appliance_id"]


@pytest.mark.parametrize("protocol", ["hls", "dash"])
def test_every_rendition_has_every_frame_over_http(
    cluster: Running, film: dict[str, Any], protocol: str
) -> None:
    session = cluster.nearcast("play", "Twelve", "--region", "north", "--player", "url")
    frames, complaints = decode(f"{session[f'{protocol}_url']}?pathways=1")
    assert complaints == []
    rungs = [count for kind, count in frames if kind == "video"]
    assert len(rungs) >= 2 and set(rungs) == {FRAMES}
    assert [count for kind, count in frames if kind == "audio"] != []


def test_clients_are_placed_by_their_address(cluster: Running, film: dict[str, Any]) -> None:
    for client, site in [("192.0.2.7", "north"), ("2001:db8:2::1", "south")]:
        ranking = cluster.nearcast("steer", "Twelve", "--client", client)
        assert ranking["pathways"][0]["site"] == site


@pytest.mark.parametrize("region", REGIONS)
async def test_every_byte_comes_from_the_site_of_the_region(
    cluster: Running,
    film: dict[str, Any],
    tmp_path: Path,
    region: str,
    record_property: Callable[[str, object], None],
) -> None:
    """The walk of the demo: every byte equals the inventory; and the appliances' own logs say who
    sent them."""
    eventually(lambda: calm(cluster))
    began = time.monotonic()
    async with signed_in(cluster.data) as api:
        new = NewSession(title_id=film["title_id"], region=region)
        session = await api.start_session(new)
    done = await Walker(session, tmp_path, began).play()
    assert done.segments >= 6 and done.failovers == 0
    assert await decode_errors(tmp_path) == []

    def sites() -> Counter[str]:
        lines = served(cluster, session.session_id)
        return Counter(line["appliance_id"].partition("-")[0] for line in lines)

    eventually(lambda: sites().total() >= done.segments)
    assert sites() == {region: done.segments}
    record_property(f"segments_by_{region}", done.segments)


def calm(cluster: Running) -> bool:
    """No appliance has so much to do that it turns requests away."""
    fleet = cluster.nearcast("fleet", "list")["appliances"]
    return all(one["report"]["state"] == "serving" for one in fleet)


def decode(url: str) -> tuple[list[tuple[str, int]], list[str]]:
    """Kind and number of frames of every stream that ffmpeg decodes, and what it complains about.

    All streams are mapped: ffmpeg breaks off the download of those it does not want, and would
    complain of that.
    """
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-nostdin", "-i", url]
    said = subprocess.run(
        [*argv, "-map", "0", "-f", "framecrc", "-"], capture_output=True, text=True, check=True
    )
    kinds = dict(re.findall(r"^#media_type (\d+): (\w+)$", said.stdout, re.MULTILINE))
    frames = Counter(re.findall(r"^(\d+),", said.stdout, re.MULTILINE))
    return [(kinds[n], frames[n]) for n in kinds], said.stderr.strip().splitlines()
