"""Commands of the catalog: upload, titles, title, play."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from control_plane.screens import encode_bar, say, show_streams, show_titles, upload_bar
from control_plane.sender import ended_job, master_size, read_picture, send_master
from control_plane.viewer import manifest_url, open_session, plain_url, probe, show, still_plays
from media.api import Job, NewTitle, Session, Title, TitleChange
from media.protection import Scheme
from runtime.api import valid
from runtime.console import (
    DataOption,
    EncryptOption,
    JsonOption,
    SubtitlesOption,
    out,
    perform,
    print_json,
    signed_in,
)
from runtime.control_api import ControlApi
from runtime.errors import REFUSED_MASTER, Problem
from runtime.sidecars import read_named
from runtime.titles import all_titles, find_title, is_title_id

app = typer.Typer(no_args_is_help=True, add_completion=False)
title_app = typer.Typer(
    no_args_is_help=True,
    help="Show, change, publish, unpublish or delete a title.\n\nExample: nearcast title show Film",
    add_completion=False,
)
app.add_typer(title_app, name="title")

PICTURE_TIMEOUT_S = 60.0  # over a slow line

TitleArgument = Annotated[str, typer.Argument(metavar="TITLE", help="Its name, or its id.")]


class Player(StrEnum):
    """What `play` does with a session."""

    ffplay = "ffplay"
    url = "url"
    probe = "probe"


class Manifest(StrEnum):
    """The protocol that `play` uses."""

    hls = "hls"
    dash = "dash"


class Unset(StrEnum):
    """What `title edit --unset` lifts."""

    maturity = "maturity"
    regions = "regions"
    available_from = "available_from"
    available_until = "available_until"


@app.command()
def upload(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The film.")],
    title: Annotated[
        str, typer.Option("--title", help="Name of a new title, or name or id of one there is.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is encoded.")] = False,
    publish: Annotated[
        bool, typer.Option(help="Publish it as soon as it is encoded, or leave it a draft.")
    ] = True,
    priority: Annotated[
        int, typer.Option("--priority", min=-100, max=100, help="Encoded before lower ones.")
    ] = 0,
    encrypt: EncryptOption = None,
    subtitles: SubtitlesOption = None,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Upload a film, and encode it.

    Example: nearcast upload holiday.mp4 --title "Our holiday" --subtitles en=holiday.srt --wait
    """
    new = _New(title, publish, priority, encrypt, tuple(subtitles or ()))
    work = _upload(data, file, new, wait, quiet=json)
    described = perform(work, json=json)
    if json:
        print_json(described)
    else:
        state = described["job"]["state"]
        name = escape(described["title"]["name"])
        out.print(f"{name} ({described['title']['title_id']}): encode {state}")


@app.command()
def titles(
    search: Annotated[str, typer.Option("--search", help="The beginnings of words.")] = "",
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """List the catalog, the newest first.

    Example: nearcast titles --search holiday
    """

    async def work() -> list[Title]:
        async with signed_in(data) as api:
            return [title async for title in all_titles(api, search)]

    found = perform(work(), json=json)
    if json:
        print_json({"titles": [title.model_dump(mode="json") for title in found]})
    else:
        show_titles(found)


@title_app.command("show")
def title_show(
    title: TitleArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Show a title.

    Example: nearcast title show "Our holiday"
    """

    async def work() -> Title:
        async with signed_in(data) as api:
            return await find_title(api, title)

    say(perform(work(), json=json), json)


@title_app.command("edit")
def title_edit(
    title: TitleArgument,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    synopsis: Annotated[str | None, typer.Option("--synopsis", help="What it is about.")] = None,
    year: Annotated[int | None, typer.Option("--year", help="When it was made.")] = None,
    maturity: Annotated[
        int | None, typer.Option("--maturity", help="From what age it may be seen.")
    ] = None,
    genre: Annotated[
        list[str] | None, typer.Option("--genre", help="May be given again; replaces all.")
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option("--person", metavar="NAME:ROLE", help="May be given again; replaces all."),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option("--region", help="Where it is shown; may be given again, replaces all."),
    ] = None,
    available: Annotated[
        datetime | None, typer.Option("--from", help="From when it plays, in UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", help="Until just before when, in UTC.")
    ] = None,
    unset: Annotated[
        list[Unset] | None, typer.Option("--unset", help="Is not limited any more.")
    ] = None,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Change what is known of a title, and who may see it.

    Example: nearcast title edit Film --year 1950 --person "Ida Lupino:director" --maturity 12
    """
    wanted = {
        "name": name,
        "synopsis": synopsis,
        "year": year,
        "maturity": maturity,
        "genres": genre,
        "people": [_credit(one) for one in person or ()] or None,
        "regions": region,
        "available_from": available and available.replace(tzinfo=UTC),
        "available_until": until and until.replace(tzinfo=UTC),
    }
    given: dict[str, object] = {name: said for name, said in wanted.items() if said}
    given |= {one.value: None for one in unset or ()}

    async def work() -> Title:
        change = valid(TitleChange, **given)
        async with signed_in(data) as api:
            found = await find_title(api, title)
            return await api.change_title(found.title_id, change)

    say(perform(work(), json=json), json)


@title_app.command("art")
def title_art(
    title: TitleArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The picture: JPEG, PNG or WebP.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="The picture of its film will do again.")
    ] = False,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Give a title a picture, or take it away again.

    Example: nearcast title art "Our holiday" beach.jpg
    """
    if remove == (file is not None):
        raise typer.BadParameter("give either a FILE or --remove")

    async def work() -> Title:
        picture = None if file is None else read_picture(file)
        async with signed_in(data) as api:
            found = await find_title(api, title)
            if picture is None:
                return await api.delete_title_artwork(found.title_id)
            return await api.put_title_artwork(found.title_id, picture, timeout_s=PICTURE_TIMEOUT_S)

    say(perform(work(), json=json), json)


@title_app.command("publish")
def title_publish(
    title: TitleArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Let viewers play a title.

    Example: nearcast title publish "Our holiday"
    """
    say(perform(_on_title(data, title, ControlApi.publish_title), json=json), json)


@title_app.command("unpublish")
def title_unpublish(
    title: TitleArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Make a title a draft again; plays that run, run on.

    Example: nearcast title unpublish "Our holiday"
    """
    say(perform(_on_title(data, title, ControlApi.unpublish_title), json=json), json)


@title_app.command("delete")
def title_delete(
    title: TitleArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Delete a title: its master, its packages, and what appliances hold of them.

    Example: nearcast title delete "Our holiday"
    """

    async def work() -> Title:
        async with signed_in(data) as api:
            found = await find_title(api, title)
            await api.delete_title(found.title_id)
            return found

    deleted = perform(work(), json=json)
    if json:
        print_json({"deleted": deleted.title_id})
    else:
        out.print(f"{escape(deleted.name)} ({deleted.title_id}) is deleted.")


@app.command()
def play(
    title: TitleArgument,
    region: Annotated[
        str | None, typer.Option("--region", help="Play as if from there; default: from here.")
    ] = None,
    player: Annotated[Player, typer.Option("--player", help="What to do with it.")] = Player.url,
    protocol: Annotated[Manifest, typer.Option("--protocol", help="Manifest.")] = Manifest.hls,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Open a session: print its address, probe it with ffprobe, or watch it in ffplay.

    Example: nearcast play "Our holiday" --region oslo --player probe
    """
    session, streams = perform(_play(data, title, region, player, protocol), json=json)
    if json:
        described = session.model_dump(mode="json")
        print_json(described if streams is None else {"session": described, "streams": streams})
    elif streams is not None:
        show_streams(session, streams)
    elif player is Player.url:
        # Not through rich, which would break a long line.
        print(manifest_url(session, protocol.value))


@dataclass(frozen=True)
class _New:
    """What is said of a film that is uploaded."""

    title: str
    publish: bool
    priority: int
    encryption: Scheme | None
    subtitles: tuple[str, ...]


async def _upload(data: Path, file: Path, new: _New, wait: bool, *, quiet: bool) -> dict[str, Any]:
    size = master_size(file)
    beside = [read_named(text) for text in new.subtitles]
    async with signed_in(data) as api:
        title, made = await _find_or_make(api, new.title)
        try:
            with upload_bar(size, quiet) as tell:
                job = await send_master(
                    api,
                    title.title_id,
                    file,
                    publish=new.publish,
                    priority=new.priority,
                    encryption=new.encryption,
                    beside=beside,
                    tell=tell,
                )
        except BaseException:
            if made:  # a title without a film is of no use to anyone
                with suppress(Problem):
                    await api.delete_title(title.title_id)
            raise
        if wait:
            try:
                with encode_bar(quiet) as see:
                    job = await ended_job(api, job.job_id, see)
            except Problem as problem:
                if made and problem.code in REFUSED_MASTER:
                    await _drop_empty(api, title.title_id, job)
                raise
        title = await api.title(title.title_id)
        return {"title": title.model_dump(mode="json"), "job": job.model_dump(mode="json")}


async def _drop_empty(api: ControlApi, title_id: str, refused: Job) -> None:
    """The title is gone, unless somebody has brought another master for it meanwhile."""
    with suppress(Problem):
        title = await api.title(title_id)
        if title.package_id is None and title.job_id == refused.job_id:
            await api.delete_title(title_id)


async def _play(
    data: Path, name: str, region: str | None, player: Player, protocol: Manifest
) -> tuple[Session, list[dict[str, Any]] | None]:
    async with signed_in(data) as api:
        title = await find_title(api, name)
        try:
            session = await open_session(api, title.title_id, region)
        except ValidationError:
            raise Problem("unknown_region", f"{region!r} is not a region.") from None
        plain = plain_url(session, protocol.value)
        if player is Player.probe:
            return session, await probe(plain)
        if player is Player.ffplay:
            await show(plain, lambda: still_plays(api, session), session.heartbeat_s)
        return session, None


def _credit(said: str) -> dict[str, str]:
    """`NAME:ROLE`, or a name alone."""
    name, _, role = said.partition(":")
    return {"name": name} | ({"role": role} if role else {})


async def _on_title(
    data: Path, name: str, change: Callable[[ControlApi, str], Awaitable[Title]]
) -> Title:
    async with signed_in(data) as api:
        found = await find_title(api, name)
        return await change(api, found.title_id)


async def _find_or_make(api: ControlApi, name: str) -> tuple[Title, bool]:
    """The title of this id or exact name, or else a new draft; and whether it was made."""
    if is_title_id(name):
        return await api.title(name), False
    try:
        new = NewTitle(name=name)
    except ValidationError:
        raise Problem(
            "bad_request", "A title's name has 1 to 200 characters, all on one line."
        ) from None
    async for title in all_titles(api, new.name):
        if title.name == new.name:
            return title, False
    return await api.create_title(new), True
