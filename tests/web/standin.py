"""What the pages talk to, in small: an API that signs in and opens sessions, and appliances.

Appliances are processes of their own on their own addresses, so that one can be killed; the
package is real (fragmented MP4 by ffmpeg), the multivariant playlist is written by hand.

    python tests/web/standin.py FOLDER HOST      an appliance; prints its port
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from aiohttp import web

from control_plane.pages import POLICY

REPOSITORY = Path(__file__).resolve().parents[2]
TITLE_ID = "ttl_01hzzzzzzzzzzzzzzzzzzzzzzz"
NAME, PASSWORD = "ada", "correct horse battery"
NO_FILM = "The file has no video track."
RUNGS = ((180, 200_000), (360, 600_000))  # height, bits per second
FILM_S, SEGMENT_S = 8, 1
HOSTS = {"north-1": "127.0.1.1", "south-1": "127.0.2.1"}
REGIONS = {"north": ("north-1", "south-1"), "south": ("south-1", "north-1")}


def make_package(folder: Path) -> None:
    """Encodes a test picture and a tone into `folder`: `0.m3u8` is the audio, then the rungs."""
    video = [f"testsrc2=size={h * 16 // 9}x{h}:rate=24:duration={FILM_S}" for h, _ in RUNGS]
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi"]
    argv += ["-i", f"sine=frequency=330:duration={FILM_S}"]
    for source in video:
        argv += ["-f", "lavfi", "-i", source]
    argv += [flag for i in range(len(RUNGS) + 1) for flag in ("-map", f"{i}:{'v' if i else 'a'}")]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    argv += ["-g", str(24 * SEGMENT_S), "-keyint_min", str(24 * SEGMENT_S), "-sc_threshold", "0"]
    for i, (_, bps) in enumerate(RUNGS):
        argv += [f"-b:v:{i}", str(bps), f"-maxrate:v:{i}", str(bps), f"-bufsize:v:{i}", str(bps)]
    streams = ["a:0,agroup:a"] + [f"v:{i},agroup:a" for i in range(len(RUNGS))]
    argv += ["-f", "hls", "-hls_segment_type", "fmp4", "-hls_playlist_type", "vod"]
    argv += ["-hls_time", str(SEGMENT_S), "-var_stream_map", " ".join(streams)]
    argv += ["-hls_fmp4_init_filename", "init_%v.mp4", "-hls_segment_filename", "%v_%d.m4s"]
    subprocess.run([*argv, "%v.m3u8"], cwd=folder, check=True, timeout=60)


@cache
def make_poster() -> bytes:
    """A picture of the film, as PNG."""
    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi"]
    argv += ["-i", "testsrc2=size=320x180", "-frames:v", "1", "-f", "image2pipe", "-c:v", "png"]
    return subprocess.run([*argv, "-"], capture_output=True, check=True, timeout=30).stdout


def multivariant(bases: dict[str, str], steering_url: str) -> str:
    """The playlist of a session: one pathway an appliance, in the order of `bases`."""
    first = next(iter(bases))
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    lines += [f'#EXT-X-CONTENT-STEERING:SERVER-URI="{steering_url}",PATHWAY-ID="{first}"']
    for appliance_id, base in bases.items():
        lines += [
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a-{appliance_id}",NAME="English",LANGUAGE="en",'
            f'DEFAULT=YES,AUTOSELECT=YES,CHANNELS="1",STABLE-RENDITION-ID="a",URI="{base}0.m3u8"'
        ]
    for i, (height, bps) in enumerate(RUNGS):
        for appliance_id, base in bases.items():
            lines += [
                f"#EXT-X-STREAM-INF:BANDWIDTH={bps + 100_000},AVERAGE-BANDWIDTH={bps},"
                f'CODECS="avc1.42c01e,mp4a.40.2",RESOLUTION={height * 16 // 9}x{height},'
                f'FRAME-RATE=24.000,AUDIO="a-{appliance_id}",PATHWAY-ID="{appliance_id}",'
                f'STABLE-VARIANT-ID="v{i}"',
                f"{base}{i + 1}.m3u8",
            ]
    return "\n".join(lines) + "\n"


@dataclass
class Appliance:
    """An appliance that runs."""

    appliance_id: str
    url: str
    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """SIGKILL, and the process is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@dataclass
class Standin:
    """The whole: where the pages are, and the appliances by id. `hlsjs` is handed to players."""

    folder: Path
    appliances: dict[str, Appliance] = field(default_factory=dict)
    hlsjs: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    opened: list[str] = field(default_factory=list)  # ids of sessions, since renew()
    ended: list[str] = field(default_factory=list)
    left_at: list[float | None] = field(default_factory=list)  # as those said that ended
    watched_s: float | None = None  # of the film, by the home page
    home_away: bool = False
    beats: list[dict[str, Any]] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)  # the refresh tokens that were shown
    signed_out: int = 0
    resume_s: float = 0.0  # of sessions
    heartbeat_s: float = 30.0
    too_many: bool = False  # streams
    life_s: float = 3600.0  # of access tokens
    _number: int = 0  # of the last session: the next test must not meet an earlier one's

    async def renew(self) -> None:
        """As at the beginning: no session, no fault, and the dead live again."""
        self.opened, self.ended, self.left_at, self.beats, self.refreshed = [], [], [], [], []
        self.watched_s, self.home_away = None, False
        self.signed_out, self.resume_s, self.heartbeat_s, self.too_many = 0, 0.0, 30.0, False
        self.life_s = 3600.0
        for fault in ("expired", "hang"):
            (self.folder / fault).unlink(missing_ok=True)
        for appliance_id, host in HOSTS.items():
            known = self.appliances.get(appliance_id)
            if known is None or known.process.returncode is not None:
                self.appliances[appliance_id] = await _start_appliance(
                    appliance_id, self.folder, host
                )

    def expire_tokens(self) -> None:
        """Every token handed out so far is expired from now on."""
        (self.folder / "expired").write_text(str(self._number))

    def tokens(self) -> dict[str, str]:
        """What signing in gives."""
        until = datetime.now(UTC) + timedelta(seconds=self.life_s)
        known = f"refresh-{len(self.refreshed)}"
        return {"access_token": "t", "expires_at": until.isoformat(), "refresh_token": known}

    def hang(self, appliance_id: str) -> None:
        """The appliance sends one half of each video segment from now on, and then nothing."""
        (self.folder / "hang").write_text(HOSTS[appliance_id])

    def session(self, region: str) -> dict[str, Any]:
        """A session, its token named by its number."""
        self._number += 1
        self.opened.append(f"ses_{self._number}")
        base_path = f"/{self._number}/titles/"
        pathways = [self._pathway(i, site) for i, site in enumerate(REGIONS[region])]
        return {
            "session_id": self.opened[-1],
            "title_id": TITLE_ID,
            "region": region,
            "hls_url": f"{self.url}/master/{region}{base_path}master.m3u8",
            "pathways": pathways,
            "skipped": [{"appliance_id": "east-1", "code": "D", "why": "draining since 10:02"}],
            "base_path": base_path,
            "player_settings": {"hlsjs": self.hlsjs},
            "resume_s": self.resume_s,
            "heartbeat_s": self.heartbeat_s,
        }

    def _pathway(self, place: int, appliance_id: str) -> dict[str, Any]:
        site = appliance_id.split("-", maxsplit=1)[0]
        reasons = ["same region", "load 0.12"] if place == 0 else ["next region", "load 0.40"]
        return {
            "appliance_id": appliance_id,
            "site": site,
            "region": site,
            "url": self.appliances[appliance_id].url,
            "score": 0.12 + place,
            "reasons": [*reasons, "holds all renditions"],
        }


@asynccontextmanager
async def run_standin(folder: Path, hlsjs: dict[str, Any]) -> AsyncIterator[Standin]:
    """The stand-in around the package in `folder`; everything has ended afterwards."""
    standin = Standin(folder, hlsjs=hlsjs)
    runner = web.AppRunner(_control(standin))
    try:
        await standin.renew()
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        standin.url = f"http://{host}:{port}"
        yield standin
    finally:
        await runner.cleanup()
        for appliance in standin.appliances.values():
            await appliance.kill()


async def _start_appliance(appliance_id: str, folder: Path, host: str) -> Appliance:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(folder), host, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    return Appliance(appliance_id, f"http://{host}:{port}", process)


def _control(standin: Standin) -> web.Application:
    title = {
        "title_id": TITLE_ID,
        "name": "Test picture",
        "state": "published",
        "package_id": "pkg_1",
        "duration_s": float(FILM_S),
        "max_height": RUNGS[-1][0],
    }
    waiting = {**title, "title_id": "ttl_2", "name": "Not yet encoded", "package_id": None}
    waiting |= {"duration_s": None, "max_height": None, "state": "draft"}
    refused = {**waiting, "title_id": "ttl_3", "name": "No film"}
    refused |= {"encode": {"state": "refused", "code": "not_a_video", "why": NO_FILM}}

    async def login(request: web.Request) -> web.Response:
        given = await request.json()
        if (given["name"], given["password"]) != (NAME, PASSWORD) or not given["device"]:
            return _problem(401, "wrong_credentials", "The name or the password is wrong.")
        return web.json_response(standin.tokens())

    async def refresh(request: web.Request) -> web.Response:
        standin.refreshed.append((await request.json())["refresh_token"])
        return web.json_response(standin.tokens())

    async def logout(_: web.Request) -> web.Response:
        standin.signed_out += 1
        return web.Response(status=204)

    async def beat(request: web.Request) -> web.Response:
        standin.beats.append(await request.json())
        if standin.too_many:
            return _problem(409, "too_many_streams", "The account plays elsewhere.")
        return web.Response(status=204)

    def pictured(known: dict[str, Any]) -> dict[str, Any]:
        return known | {"artwork_url": f"{standin.url}/artwork/{known['title_id']}"}

    async def titles(request: web.Request) -> web.Response:
        q = request.query.get("q", "").lower()
        found = [pictured(title), pictured(refused), waiting]
        found = [one for one in found if q in one["name"].lower()]
        return web.json_response({"titles": found, "next_cursor": None})

    async def home(_: web.Request) -> web.Response:
        if standin.home_away:
            return _problem(503, "unavailable", "The database does not answer.")
        going_on = [] if standin.watched_s is None else [standin.watched_s]
        watched = [{"title": pictured(title), "position_s": at} for at in going_on]
        popular = [] if standin.watched_s is None else [pictured(title), title | {"name": "Other"}]
        rows = {"continue_watching": watched, "popular": popular, "degraded": ["popular"]}
        return web.json_response(rows)

    async def artwork(request: web.Request) -> web.Response:
        """Of the film; the other's cannot be had."""
        if request.match_info["title_id"] != TITLE_ID:
            return _problem(404, "unknown_artwork", "The title has no such picture.")
        return web.Response(body=make_poster(), content_type="image/png")

    async def one_title(_: web.Request) -> web.Response:
        return web.json_response(title)

    async def regions(_: web.Request) -> web.Response:
        return web.json_response({"regions": list(REGIONS)})

    async def sessions(request: web.Request) -> web.Response:
        wanted = await request.json()
        if wanted["title_id"] != TITLE_ID:
            return _problem(404, "unknown_title", "There is no such title.")
        return web.json_response(standin.session(wanted.get("region", "north")))

    async def end(request: web.Request) -> web.Response:
        standin.ended.append(request.match_info["session_id"])
        said = request.query.get("position_s")
        standin.left_at.append(None if said is None else float(said))
        return web.Response(status=204)

    async def master(request: web.Request) -> web.Response:
        region, token = request.match_info["region"], request.match_info["token"]
        bases = {
            site: f"{standin.appliances[site].url}/{token}/titles/" for site in REGIONS[region]
        }
        return web.Response(text=multivariant(bases, f"{standin.url}/steer/{region}"))

    async def steer(request: web.Request) -> web.Response:
        priority = REGIONS[request.match_info["region"]]
        return web.json_response({"VERSION": 1, "TTL": 10, "PATHWAY-PRIORITY": priority})

    async def page(request: web.Request) -> web.FileResponse:
        path = request.match_info["path"] or "index.html"
        return web.FileResponse(
            REPOSITORY / "web" / path, headers={"Content-Security-Policy": POLICY}
        )

    @web.middleware
    async def signed_in(request: web.Request, handler: Any) -> web.StreamResponse:
        is_open = not request.path.startswith("/v1/") or request.path in (
            "/v1/auth/login",
            "/v1/auth/refresh",
        )
        if is_open or request.headers.get("Authorization") == "Bearer t":
            response: web.StreamResponse = await handler(request)
            return response
        return _problem(401, "not_signed_in", "Sign in first.")

    app = web.Application(middlewares=[signed_in])
    app.add_routes(
        [
            web.post("/v1/auth/login", login),
            web.post("/v1/auth/refresh", refresh),
            web.post("/v1/auth/logout", logout),
            web.post("/v1/sessions/{session_id}/heartbeat", beat),
            web.get("/v1/titles", titles),
            web.get("/v1/home", home),
            web.get("/artwork/{title_id}", artwork),
            web.get("/v1/titles/{title_id}", one_title),
            web.get("/v1/regions", regions),
            web.post("/v1/sessions", sessions),
            web.delete("/v1/sessions/{session_id}", end),
            web.get("/master/{region}/{token}/titles/master.m3u8", master),
            web.get("/steer/{region}", steer),
            web.get("/{path:(?:[a-z_]+/)?[a-z._]*}", page),
        ]
    )
    return app


def _problem(status: int, code: str, detail: str) -> web.Response:
    return web.json_response(
        {"status": status, "code": code, "detail": detail, "title": detail},
        status=status,
        content_type="application/problem+json",
        headers={"Access-Control-Allow-Origin": "*"},
    )


async def _half(request: web.Request, path: Path) -> web.StreamResponse:
    """Sends one half of the file, and then nothing."""
    data = path.read_bytes()
    response = web.StreamResponse(headers={"Access-Control-Allow-Origin": "*"})
    response.content_length = len(data)
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    await asyncio.Event().wait()
    return response


def _serve(folder: Path, host: str) -> None:
    """An appliance: the package below `/{token}/titles/`, with CORS. Faults are files beside it:
    `expired` holds the last token that is, `hang` the host that sends half of each video segment.
    Audio goes on: a player that waits for it as well would leave the sooner."""

    async def get(request: web.Request) -> web.StreamResponse:
        marker = folder / "expired"
        expired = int(marker.read_text()) if marker.exists() else 0
        if int(request.match_info["token"]) <= expired:
            return _problem(403, "token_expired", "The token has expired.")
        path = folder / Path(request.match_info["path"]).name
        hang = folder / "hang"
        is_audio = path.name.startswith("0_")
        if hang.exists() and hang.read_text() == host and not is_audio:
            return await _half(request, path)
        return web.FileResponse(path, headers={"Access-Control-Allow-Origin": "*"})

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{token}/titles/{path}", get)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
