"""Commands of encode jobs: jobs, job."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from media.api import Job, JobList
from runtime.console import DataOption, JsonOption, out, perform, print_json, signed_in
from runtime.control_api import ControlApi

app = typer.Typer(no_args_is_help=True, add_completion=False)
job_app = typer.Typer(
    no_args_is_help=True,
    help="Show, cancel or retry an encode job.\n\nExample: nearcast job retry job_01j…",
    add_completion=False,
)
app.add_typer(job_app, name="job")

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id: see nearcast jobs.")]


@app.command()
def jobs(data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """List the encode jobs that wait or run, and those that ended last.

    Example: nearcast jobs
    """

    async def work() -> JobList:
        async with signed_in(data) as api:
            return await api.jobs()

    found = perform(work(), json=json)
    if json:
        print_json(found)
    else:
        _show(found.jobs)


@job_app.command("show")
def show(job: JobArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """Show a job.

    Example: nearcast job show job_01j…
    """
    _say(data, job, ControlApi.job, json)


@job_app.command("cancel")
def cancel(
    job: JobArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """End a job that waits or runs.

    Example: nearcast job cancel job_01j…
    """
    _say(data, job, ControlApi.cancel_job, json)


@job_app.command("retry")
def retry(job: JobArgument, data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """Queue a job again that failed or was cancelled; what it had encoded counts.

    Example: nearcast job retry job_01j…
    """
    _say(data, job, ControlApi.retry_job, json)


def _say(
    data: Path, job_id: str, ask: Callable[[ControlApi, str], Awaitable[Job]], json: bool
) -> None:
    async def work() -> Job:
        async with signed_in(data) as api:
            return await ask(api, job_id)

    job = perform(work(), json=json)
    if json:
        print_json(job)
    else:
        _show((job,))


def _show(found: tuple[Job, ...]) -> None:
    table = Table(box=None)
    for column in ("job", "title", "state", "stage", "done", "chunks", "speed", "priority"):
        table.add_column(column, no_wrap=True)
    for job in found:
        told = job.progress
        table.add_row(
            job.job_id,
            job.title_id,
            job.state,
            told.stage,
            f"{told.fraction:.0%}",
            f"{told.chunks_done} of {told.chunks}" if told.chunks else "–",
            f"{told.speed:.1f}×" if told.speed else "–",
            str(job.priority),
        )
    out.print(table if found else "There are no jobs. Bring a film: nearcast upload FILE …")
    for job in found:
        if job.error:
            out.print(f"{job.job_id}: {escape(job.error)}")
