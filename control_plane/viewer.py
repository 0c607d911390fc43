"""The client side of a play: a session's manifest, given to ffplay or looked at with ffprobe."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from media.api import Heartbeat, NewSession, Session
from runtime import programs
from runtime.child import ChildFailed, Limits, run_child
from runtime.control_api import ControlApi
from runtime.errors import Problem

Protocol = Literal["hls", "dash"]

PROBE_LIMITS = Limits(timeout_s=60.0, memory_bytes=4 * 1024**3)


async def open_session(api: ControlApi, title_id: str, region: str | None) -> Session:
    """A new session. Raises Problem."""
    return await api.start_session(NewSession(title_id=title_id, region=region))


async def still_plays(api: ControlApi, session: Session) -> None:
    """The session counts as a stream for a while more. Raises Problem `too_many_streams`."""
    await api.keep_session(session.session_id, Heartbeat())


def manifest_url(session: Session, protocol: Protocol) -> str:
    """The address for a player that knows content steering."""
    return {"hls": session.hls_url, "dash": session.dash_url}[protocol]


def plain_url(session: Session, protocol: Protocol) -> str:
    """The address for a player that does not: ffmpeg's, VLC."""
    return f"{manifest_url(session, protocol)}?pathways=1"


async def probe(url: str) -> list[dict[str, Any]]:
    """The streams that ffprobe finds behind a manifest. Raises Problem."""
    argv = [
        programs.ffprobe(), "-v", "error",
        "-protocol_whitelist", "http,https,tcp,tls,crypto",  # a manifest leads to nothing local
        "-print_format", "json",
        "-show_entries", "stream=index,codec_type,codec_name,profile,width,height,avg_frame_rate,"
                         "channels,sample_rate:stream_tags=language,variant_bitrate",
        url,
    ]  # fmt: skip
    try:
        found = json.loads(await run_child(argv, limits=PROBE_LIMITS))
    except ChildFailed as error:
        if url.partition("?")[0].endswith(".mpd"):
            detail = "This machine's ffprobe does not read DASH here: try --protocol hls."
            raise Problem("unavailable", detail) from None
        raise Problem("unavailable", f"ffprobe cannot play the session: {error}.") from None
    return [dict(stream) for stream in found.get("streams", [])]


async def show(url: str, alive: Callable[[], Awaitable[None]], every_s: float) -> None:
    """ffplay plays the film to its end, or until its window is closed; meanwhile `alive` is called
    every so often. Raises Problem."""
    program = shutil.which("ffplay")
    if program is None:
        raise Problem(
            "missing_program",
            "ffplay is not installed; --player url prints an address for any player.",
        )
    process = await asyncio.create_subprocess_exec(program, "-loglevel", "error", "-autoexit", url)

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await alive()
            except Problem as problem:
                if problem.code == "too_many_streams":
                    raise

    beating = asyncio.create_task(beat(), name="beat")
    playing = asyncio.create_task(process.wait(), name="play")
    try:
        await asyncio.wait({beating, playing}, return_when=asyncio.FIRST_COMPLETED)
        if beating.done():
            await beating  # raises what ended it
        code = await playing
    finally:
        beating.cancel()
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if code != 0:
        raise Problem("unavailable", f"ffplay ended with code {code}.")
