"""What the commands show: progress bars on standard error, tables on standard output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from media.api import Job, Session, Title
from runtime.console import err, out, print_json


@contextmanager
def upload_bar(total_bytes: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; what it gives takes the bytes of each step."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description:8}"), *columns, console=err, disable=quiet) as bar:
        task = bar.add_task("upload", total=total_bytes)
        yield lambda sent: bar.update(task, advance=sent)


@contextmanager
def encode_bar(quiet: bool) -> Iterator[Callable[[Job], None]]:
    """A progress bar of a job; what it gives takes the job at each look."""
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(TextColumn("{task.description:8}"), *columns, console=err, disable=quiet) as bar:
        task = bar.add_task("waiting", total=1.0, note="")

        def see(job: Job) -> None:
            told = job.progress
            speed = f"{told.speed:.1f}× real time" if told.speed else ""
            if (told.chunks or 0) > 1:
                speed += f" · {told.chunks_done} of {told.chunks} chunks"
            bar.update(
                task,
                description=job.progress.stage,
                completed=job.progress.fraction,
                note=speed,
            )

        yield see


def say(title: Title, json: bool) -> None:
    """A title, for people or as JSON."""
    if json:
        print_json(title)
    else:
        show_titles([title])


def show_titles(found: list[Title]) -> None:
    """Titles in a table."""
    table = Table(box=None)
    table.add_column("name", min_width=12)
    for column in ("id", "state", "length", "height"):
        table.add_column(column, no_wrap=True)  # an id that is cut cannot be copied
    for title in found:
        minutes, seconds = divmod(round(title.duration_s or 0), 60)
        length = f"{minutes}:{seconds:02}" if title.duration_s else "–"
        table.add_row(
            escape(title.name), title.title_id, title.state, length, str(title.max_height or "–")
        )
    out.print(
        table if found else "The catalog is empty. Bring a film: nearcast upload FILE --title NAME"
    )
    for title in found:
        encode = title.encode
        if encode is not None and encode.state in ("refused", "failed"):
            out.print(f"{escape(title.name)}: encode {encode.state}: {escape(encode.why or '')}")


def show_streams(session: Session, streams: list[dict[str, Any]]) -> None:
    """What ffprobe found, and where it came from."""
    first = session.pathways[0]
    out.print(f"from {first.appliance_id} in {first.region} ({'; '.join(first.reasons)})")
    table = Table("stream", "codec", "size", "rate", box=None)
    for stream in streams:
        video = stream.get("codec_type") == "video"
        size = (
            f"{stream.get('width')}×{stream.get('height')}"
            if video
            else f"{stream.get('channels')} ch"
        )
        rate = stream.get("avg_frame_rate" if video else "sample_rate", "")
        table.add_row(str(stream.get("codec_type")), str(stream.get("codec_name")), size, str(rate))
    out.print(table)
