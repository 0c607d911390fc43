"""The demo: a film through a CDN of one's own, on one machine.

It does nothing that a person could not do: `nearcast upload` sends the film through the public
API, and sessions are opened like any player's. With `once` it plays, kills an appliance in
mid-play, and says what happened, instead of waiting.
"""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel
from rich.table import Table

from media.accounts import Login
from media.api import NewSession, Session, Title
from nearcast.cluster import Cluster, until_interrupted
from nearcast.film import make_film
from nearcast.settings import ClusterSettings
from nearcast.walk import Walker, decode_errors
from runtime.client import Client
from runtime.console import err, out, signed_in
from runtime.control_api import ControlApi
from runtime.errors import Problem, problem_of
from runtime.titles import all_titles

APPLIANCES = 4
TITLE = "Nearcast demo"
_FILLED_S = 120.0
_KILL_AFTER = 3  # segments


class RegionResult(BaseModel):
    """How one region's session went."""

    region: str
    pathways: tuple[str, ...]
    bytes: int
    segments: int
    served_by: dict[str, int]
    first_segment_ms: float | None
    decode_errors: int
    errors: tuple[str, ...] = ()


class DemoResult(BaseModel):
    """What `--once --json` prints. Times are in seconds (_s) or milliseconds (_ms)."""

    ok: bool
    title_id: str
    film: str
    published_s: float
    filled_s: float
    first_segment_ms: float | None
    failover_ms: float | None
    killed: str | None
    regions: tuple[RegionResult, ...]


async def run_demo(
    film: Path | None, data: Path, settings: ClusterSettings, config: Path | None, once: bool
) -> DemoResult | None:
    """Everything runs, and the film plays; returns when interrupted, or with `once` the result."""
    if film is not None and not film.is_file():
        raise Problem("bad_request", f"There is no file {film}.")
    cluster = Cluster(data, APPLIANCES, settings, config)
    with err.status("Starting …") as status:
        await cluster.start(lambda part: status.update(f"Starting {part} …"))
    try:
        film = film or await _made_film(data)
        began = time.monotonic()
        title = await _title_of(cluster, film)
        published_s = time.monotonic() - began
        with err.status("Filling the appliances …"):
            await _filled(cluster, title)
        filled_s = time.monotonic() - began
        if once:
            return await _play_once(cluster, title, film, published_s, filled_s)
        await _show(cluster, title)
        await until_interrupted()
        err.print("Stopping …")
        return None
    finally:
        await cluster.stop()


async def _made_film(data: Path) -> Path:
    film = data / "demo.mp4"
    if not film.exists():
        with err.status("Making a film of one minute …"):
            await make_film(film)
    return film


async def _title_of(cluster: Cluster, film: Path) -> Title:
    """The published title of this film: an earlier demo's, or uploaded and encoded now. Another
    film of the same name takes the title over."""
    name = f"{TITLE}: {film.stem}"
    async with signed_in(cluster.data) as api:
        earlier = await title_made_of(api, name, film)
        if earlier is not None:
            return earlier
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nearcast", "upload", str(film.absolute()), "--title", name,
            "--wait", "--data", str(cluster.data), "--json",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise problem_of(said) or Problem("encode_failed", "The film was not published.")
        return Title.model_validate(json.loads(said)["title"])


async def title_made_of(api: ControlApi, name: str, film: Path) -> Title | None:
    """The published title of this name that plays these very bytes, by their SHA-256."""
    sha256: str | None = None
    async for title in all_titles(api, name):
        if title.name == name and title.state == "published" and title.job_id is not None:
            job = await api.job(title.job_id)
            sha256 = sha256 or await asyncio.to_thread(_sha256, film)
            if job.state == "done" and job.master_sha256 == sha256:
                return title
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _filled(cluster: Cluster, title: Title) -> None:
    """Every appliance holds the title's package whole, and steering knows."""
    try:
        async with asyncio.timeout(_FILLED_S), signed_in(cluster.data) as api:
            for appliance_id, daemon in cluster.appliances.items():
                async with Client(daemon.urls["admin"]) as admin:
                    while not await _holds(admin, api, appliance_id, title):  # noqa: ASYNC110
                        await asyncio.sleep(0.2)
    except TimeoutError:
        raise Problem("unavailable", "The appliances were not filled in time.") from None


class _Complete(BaseModel):
    complete_packages: tuple[str, ...]


async def _holds(admin: Client, api: ControlApi, appliance_id: str, title: Title) -> bool:
    complete = (await admin.call("GET", "/v1/state", _Complete)).complete_packages
    if title.package_id not in complete:
        return False
    roster = await api.fleet()
    told = {e.report.appliance_id: e.packages_held for e in roster.appliances}
    return told.get(appliance_id, 0) >= len(complete)


async def _regions(api: ControlApi) -> list[str]:
    roster = await api.fleet()
    return sorted({entry.region for entry in roster.appliances})


async def _open(api: ControlApi, title: Title, region: str) -> Session:
    return await api.start_session(NewSession(title_id=title.title_id, region=region))


async def _show(cluster: Cluster, title: Title) -> None:
    """Prints what there is to see and to try."""
    async with signed_in(cluster.data) as api:
        table = Table("region", "appliance", "score", "why", title=f"Who serves “{title.name}”")
        lines = []
        for region in await _regions(api):
            session = await _open(api, title, region)
            for rank, pathway in enumerate(session.pathways):
                table.add_row(
                    "" if rank else region,
                    pathway.appliance_id,
                    f"{pathway.score:.2f}",
                    ", ".join(pathway.reasons),
                )
            table.add_section()
            lines.append(f"  {region:8} ffplay '{session.hls_url}?pathways=1'")
    account = Login.model_validate_json((cluster.data / "secrets" / "admin.json").read_text())
    async with ControlApi(Client(cluster.control_url)) as anonymous:
        tokens = await anonymous.login(account)
    out.print(table)
    out.print("\nIn ffplay, as a client of each region would:")
    for line in lines:
        out.print(line, soft_wrap=True)
    page = f"{cluster.control_url}/player.html?title={title.title_id}#token={tokens.access_token}"
    out.print(f"\nLog in to {cluster.control_url}/ as {account.name}, password {account.password}")
    out.print("Or open the player, signed in for a while:\n")
    out.print(f"  {page}\n", style="bold", soft_wrap=True)
    out.print("Ctrl-C ends everything.")


async def _play_once(
    cluster: Cluster, title: Title, film: Path, published_s: float, filled_s: float
) -> DemoResult:
    results: list[RegionResult] = []
    async with signed_in(cluster.data) as api:
        for region in await _regions(api):
            err.print(f"Playing in {region} …")
            results.append(await _play_region(api, title, region))
        err.print("Playing again, and killing the serving appliance in mid-play …")
        killed, failover_ms = await _survive_a_kill(cluster, api, title)
    firsts = [r.first_segment_ms for r in results if r.first_segment_ms is not None]
    return DemoResult(
        ok=failover_ms is not None
        and bool(results)
        and all(r.segments > 0 and r.decode_errors == 0 for r in results),
        title_id=title.title_id,
        film=film.name,
        published_s=round(published_s, 1),
        filled_s=round(filled_s, 1),
        first_segment_ms=max(firsts, default=None),
        failover_ms=failover_ms,
        killed=killed,
        regions=tuple(results),
    )


async def _play_region(api: ControlApi, title: Title, region: str) -> RegionResult:
    """One region's session, every rendition, every byte compared and decoded."""
    with tempfile.TemporaryDirectory(prefix="nearcast-play-") as folder:
        began = time.monotonic()
        session = await _open(api, title, region)
        walk = await Walker(session, Path(folder), began).play()
        errors = await decode_errors(Path(folder))
    return RegionResult(
        region=region,
        pathways=tuple(pathway.appliance_id for pathway in session.pathways),
        bytes=walk.bytes,
        segments=walk.segments,
        served_by=walk.served_by,
        first_segment_ms=walk.first_segment_ms,
        decode_errors=len(errors),
        errors=tuple(errors[:10]),
    )


async def _survive_a_kill(
    cluster: Cluster, api: ControlApi, title: Title
) -> tuple[str, float | None]:
    """Kills the first pathway's appliance after a few segments. Returns its id, and the time from
    the kill to the next whole segment, or None when play did not go on elsewhere."""
    region = (await _regions(api))[0]
    began = time.monotonic()
    session = await _open(api, title, region)
    first = session.pathways[0].appliance_id
    killed_at = resumed_ms = None

    async def kill_in_mid_play(segments: int) -> None:
        nonlocal killed_at, resumed_ms
        if segments == _KILL_AFTER:
            killed_at = time.monotonic()
            await cluster.kill(first)
        elif segments == _KILL_AFTER + 1 and killed_at is not None:
            resumed_ms = round((time.monotonic() - killed_at) * 1000, 1)

    with tempfile.TemporaryDirectory(prefix="nearcast-play-") as folder:
        walker = Walker(session, Path(folder), began)
        walk = await walker.play(kill_in_mid_play)
    moved = walk.failovers > 0 and len(walk.served_by) > 1
    return first, resumed_ms if moved else None
