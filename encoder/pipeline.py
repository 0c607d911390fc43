"""From a master to a package in a folder: probe, ladder, encode, package, measure.

All work is done in a private folder beside the package's own, which appears when it is whole; after
a failure neither is left.
"""

import asyncio
import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoder.ffmpeg import MASTER, ProgressReader, encode_argv, explain
from encoder.hull import choose, curves
from encoder.ladder_choice import cap_bps, film_ladder, fitted, fixed_ladder
from encoder.ladder_report import LadderReport
from encoder.package import Encoded, finish_package
from encoder.packager import package_argv
from encoder.probe import probe
from encoder.progress import OnProgress, at, encoding
from encoder.recipe import Recipe, make_recipe
from encoder.settings import EncoderSettings
from encoder.source import Source
from encoder.trials import MIN_TRIED, try_out
from encoder.unbroken import unbroken
from media.api import Progress
from media.ladder import Ladder
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger

_PACKAGE = "package"


def unheard(progress: Progress) -> None:
    """For callers who do not want to know."""


async def encode(
    master: Path,
    out: Path,
    title_id: str,
    package_id: str,
    settings: EncoderSettings,
    *,
    ladder: Ladder | None = None,
    on_progress: OnProgress = unheard,
) -> Encoded:
    """The package of `master` stands in the folder `out`, which was absent or empty before.

    Without `ladder` the film gets the one that the settings name. Raises Problem, for a master
    that cannot become a package with one of the codes of masters, else `encode_failed`,
    `encode_timeout`, `disk_full` or `missing_program`.
    """
    with private_folder(out.parent) as folder:
        (folder / MASTER).symlink_to(master.resolve(strict=True))
        on_progress(at("probe"))
        source = await probe(folder, settings)
        chosen, report = await _ladder(folder, source, settings, ladder, on_progress)
        recipe = make_recipe(source, chosen)
        # Encoded tracks and the segments cut from them lie side by side for a while, and films
        # fill about half of what their caps allow.
        check_room(folder, recipe.most_bytes + settings.spare_bytes)
        await _encode(folder, recipe, settings, on_progress)
        on_progress(at("package"))
        await _package(folder, recipe, settings)
        on_progress(at("package", 0.5))
        try:
            finishing = asyncio.to_thread(
                finish_package, folder / _PACKAGE, recipe, title_id, package_id, report
            )
            made = await unbroken(finishing)
            (folder / _PACKAGE).rename(out)
        except OSError as error:
            raise disk_problem(error) from error
        return Encoded(out, made.inventory, made.inventory_sha256, chosen)


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that others cannot enter; it is gone afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".nearcast-", dir=parent))
    except OSError as error:
        raise disk_problem(error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_room(folder: Path, wanted_bytes: int) -> None:
    """The disk of `folder` has that much free. Raises Problem `disk_full`."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes:
        raise Problem(
            "disk_full",
            f"This film needs {wanted_bytes >> 20} MiB of disk, and {free >> 20} MiB are free.",
        )


def disk_problem(error: OSError) -> Problem:
    """What a failed write means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Problem("disk_full")
    return Problem("encode_failed", f"A file could not be written: {error.strerror}.")


async def _ladder(
    folder: Path,
    source: Source,
    settings: EncoderSettings,
    given: Ladder | None,
    on_progress: OnProgress,
) -> tuple[Ladder, LadderReport | None]:
    """The film's ladder; with the reasons, when it was measured."""
    if given is not None:
        return fitted(given, source), None
    if settings.ladder == "apple" or min(source.width, source.height) < MIN_TRIED:
        return fixed_ladder(source), None
    on_progress(at("ladder"))
    try:
        trials = await try_out(folder, source, Ladder.model_fields["gop_s"].default, settings)
    except Problem as problem:
        # Excerpts may lie where a film has no frames. If it is damaged, its encode will say so.
        logger().warning("no_trials", code=problem.code, detail=problem.detail)
        return fixed_ladder(source), None
    found = curves(trials)
    points = [point for curve in found.values() for point in curve]
    chosen = choose(points, {height: cap_bps(source, height) for height in found})
    ladder = film_ladder(source, chosen)
    return ladder, LadderReport(tuple(trials), found, tuple(chosen), ladder)


async def _encode(
    folder: Path, recipe: Recipe, settings: EncoderSettings, on_progress: OnProgress
) -> None:
    argv = encode_argv(
        programs.ffmpeg(),
        recipe,
        preset=settings.preset,
        threads=settings.threads,
        max_pixels=settings.max_pixels,
    )
    reader = ProgressReader(frames=recipe.source.cadence.frames)

    def take(line: str) -> None:
        if reader.feed(line):
            on_progress(encoding(reader.fraction, recipe.source.duration_s, reader.speed))

    on_progress(at("encode"))
    # Pictures of pure noise overrun a cap, but no single track weighs several times all of them.
    limits = settings.limits(settings.encode_timeout_s, 4 * recipe.most_bytes + (16 << 20))
    try:
        await run_child(argv, limits=limits, cwd=folder, on_line=take)
    except ChildFailed as failed:
        logger().warning("ffmpeg_failed", command=failed.command, stderr=failed.stderr[-2000:])
        raise explain(failed) from failed


async def _package(folder: Path, recipe: Recipe, settings: EncoderSettings) -> None:
    argv = package_argv(
        programs.packager(), recipe.rendition_ids, recipe.segment_s, recipe.timescale, _PACKAGE
    )
    (folder / _PACKAGE).mkdir()
    try:
        await run_child(argv, limits=settings.limits(settings.encode_timeout_s), cwd=folder)
    except ChildFailed as failed:
        logger().warning("packager_failed", command=failed.command, stderr=failed.stderr[-2000:])
        if "No space left" in failed.stderr:
            raise Problem("disk_full") from failed
        raise Problem("encode_failed", f"The packager failed: {failed}.") from failed
