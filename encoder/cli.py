"""`nearcast encode` and `nearcast check`: packages without any service."""

import os
import secrets
import signal
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from encoder.check_cli import check
from encoder.farm import open_farm
from encoder.ladder_choice import read_ladder
from encoder.package import Encoded
from encoder.pieces import Kept
from encoder.pipeline import Workshop
from encoder.pipeline import encode as encode_master
from encoder.settings import EncoderSettings
from encoder.subtitles import Beside
from encoder.workplace import workplace
from media.api import Progress
from media.file_store import FileStore
from media.ids import new_id
from media.ladder import Ladder
from media.protection import Protection, Scheme, keys_of, licence, read_licence
from media.secret import read_or_make
from runtime.console import EncryptOption, JsonOption, SubtitlesOption, err, perform, print_json
from runtime.console import out as console
from runtime.errors import Problem
from runtime.log import configure
from runtime.settings import load
from runtime.sidecars import read_named

app = typer.Typer()
app.command()(check)


_NAMED = ("auto", "apple")


@app.command()
def encode(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The film.")],
    out: Annotated[Path, typer.Option("--out", help="The package's folder: new, or empty.")],
    ladder: Annotated[
        str,
        typer.Option(
            "--ladder",
            metavar="auto|apple|FILE.toml",
            help="The rungs: measured for this film (unless settings say otherwise, the default),"
            " by the picture's size, or your own.",
        ),
    ] = "",
    codecs: Annotated[
        str,
        typer.Option("--codecs", metavar="avc,hevc,av1,opus", help="AVC always; others beside it."),
    ] = "",
    subtitles: SubtitlesOption = None,
    encrypt: EncryptOption = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            help="Its keys, a Clear Key licence: read if the file is there, else made."
            "  [default: OUT.keys.json]",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings, such as nearcast.toml.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Encode a film into a package for HLS and DASH. Needs no service.

    A ladder of one's own is a TOML file: an array of tables, rungs, with height, max_bps and crf.

    Example: nearcast encode film.mp4 --out ./package --subtitles en=film.en.srt
    """
    configure("encoder", "cli", "error")
    # Ended like Ctrl-C, so that nothing is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kept = keys or out.with_name(f"{out.name}.keys.json")
    locks = None if encrypt is None else (encrypt, kept)
    work = _encode(file, out, ladder, codecs, subtitles or [], locks, config, json=json)
    made = perform(work, json=json)
    if json:
        print_json(
            {
                "out": str(made.folder),
                "inventory_sha256": made.inventory_sha256,
                "total_bytes": made.inventory.total_bytes,
                "ladder": [
                    {"rendition_id": rung.rendition_id, **rung.model_dump(exclude={"mark"})}
                    for rung in (made.ladder.rungs if made.ladder else ())
                ],
                **made.inventory.model_dump(mode="json", exclude={"files"}, exclude_none=True),
            }
        )
    else:
        _show(made)


async def _encode(
    file: Path,
    out: Path,
    ladder: str,
    codecs: str,
    subtitles: Sequence[str],
    locks: tuple[Scheme, Path] | None,
    config: Path | None,
    *,
    json: bool,
) -> Encoded:
    flags = {"codecs": codecs} if codecs else {}
    settings = load(EncoderSettings, "encoder", file=config, flags=flags)
    chosen: Ladder | None = None
    if ladder in _NAMED:
        settings = settings.model_copy(update={"ladder": ladder})
    elif ladder:
        chosen = read_ladder(Path(ladder))
    if not file.is_file():
        raise Problem("bad_request", f"There is no file {file}.")
    if not os.access(file, os.R_OK):
        raise Problem("bad_request", f"{file} may not be read by this account.")
    beside = [Beside(*read_named(text)) for text in subtitles]
    _check_out(out)
    protection = None if locks is None else _keys(*locks)
    with Bar(
        TextColumn("{task.description:>8}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[pace]}"),
        console=err,
        transient=True,
        disable=json,
    ) as bar:
        task = bar.add_task("probe", total=1.0, pace="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.fraction,
                description=progress.stage,
                pace=_pace(progress),
            )

        # What a run that was killed has left is gone on with.
        with workplace(out.absolute().parent / f".{out.name}.nearcast", lasting=False) as place:
            farm = open_farm(settings)
            kept = Kept(FileStore(place), "film")
            return await encode_master(
                file,
                out,
                new_id("ttl"),
                new_id("pkg"),
                settings,
                ladder=chosen,
                workshop=Workshop(farm, kept, str(file.absolute()) if farm.far else None),
                place=place,
                beside=beside,
                protection=protection,
                on_progress=show,
            )


def _keys(scheme: Scheme, path: Path) -> Protection:
    """The protection whose keys the file has, or has from now on: before anything is encrypted, so
    that no package is ever without. Raises Problem `bad_request`."""
    try:
        raw = read_or_make(path, _made_keys)
        video, audio = read_licence(raw)
    except (OSError, ValueError) as error:
        raise Problem("bad_request", f"{path} has no two keys: {error}.") from None
    return Protection(scheme=scheme, video=video, audio=audio)


def _made_keys() -> bytes:
    made = keys_of("", secrets.token_bytes(32))
    return dumps(licence(made), indent=1).encode() + b"\n"


def _check_out(out: Path) -> None:
    """`out` can become the package's folder. Raises Problem `bad_request`."""
    if out.is_dir():
        if any(out.iterdir()):
            raise Problem("bad_request", f"{out} is not empty; give --out a new or empty folder.")
    elif out.exists():
        raise Problem("bad_request", f"{out} is a file; give --out a new or empty folder.")
    elif not out.absolute().parent.is_dir():
        raise Problem("bad_request", f"There is no folder {out.absolute().parent} to put it in.")


def _pace(progress: Progress) -> str:
    if progress.speed is None or progress.eta_s is None:
        return ""
    minutes, seconds = divmod(round(progress.eta_s), 60)
    pace = f"{progress.speed:.1f}× · {minutes}:{seconds:02} left"
    if (progress.chunks or 0) > 1:
        pace += f" · {progress.chunks_done} of {progress.chunks} chunks"
    return pace


def _show(made: Encoded) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("rendition", "picture or language", "codecs", "average", "peak", "bytes"):
        table.add_column(heading, justify="left" if heading[0] in "rpc" else "right")
    for r in made.inventory.renditions:
        shown = f"{r.width}×{r.height}" if r.kind == "video" else str(r.language)
        table.add_row(
            r.rendition_id,
            shown,
            r.codecs,
            f"{r.average_bandwidth / 1e6:.2f} Mb/s",
            f"{r.bandwidth / 1e6:.2f} Mb/s",
            f"{r.total_bytes:,}",
        )
    console.print(table)
    console.print(
        f"{made.folder}: {made.inventory.duration_s:.2f} s,"
        f" {made.inventory.total_bytes:,} bytes, inventory {made.inventory_sha256[:12]}…"
    )
