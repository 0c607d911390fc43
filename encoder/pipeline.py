"""From a master to a package in a folder: probe, ladder, encode, package, measure.

All work is done in a private folder, and the package appears when it is whole. What costs most, the
pieces of the encode, is kept elsewhere as soon as it is done: whoever begins anew goes on there.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from encoder.chunks import Chunk, cut
from encoder.codecs import with_codecs
from encoder.conformance import check_package
from encoder.farm import Farm, Here, Order
from encoder.ffmpeg import MASTER, join_argv, joined
from encoder.hull import choose, curves
from encoder.ladder_choice import cap_bps, film_ladder, fitted, fixed_ladder
from encoder.ladder_report import LadderReport
from encoder.package import Encoded, finish_package
from encoder.packager import package_argv
from encoder.pieces import ADDRESS_S, Kept, Piece, pieces_of
from encoder.probe import probe
from encoder.progress import OnProgress, Tally, at
from encoder.quality import below, judge
from encoder.recipe import Recipe, make_recipe
from encoder.remux import remuxed
from encoder.report import Reports
from encoder.settings import EncoderSettings
from encoder.source import Source
from encoder.stills import make_stills
from encoder.subtitles import Beside, subtitles
from encoder.trials import MIN_TRIED, tried_out
from encoder.unbroken import unbroken
from encoder.workplace import check_room, disk_problem, private_folder
from media.api import Progress
from media.file_store import FileStore
from media.inventory import sha256_of_file
from media.ladder import Ladder
from media.objects import StoreFull, StoreUnavailable
from media.protection import Protection
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger

_PACKAGE = "package"
_KEY = re.compile(r"(:key=)[0-9a-f]+")  # the packager takes them as arguments
_TRIES = 3  # of pieces that turn out to be damaged


@dataclass(frozen=True)
class Workshop:
    """Who makes the pieces, where they are kept, and where, but for here, the master is read."""

    farm: Farm
    kept: Kept
    address: str | None = None


def unheard(progress: Progress) -> None:
    """For callers who do not want to know."""


async def encode(
    master: Path,
    out: Path,
    title_id: str,
    package_id: str,
    settings: EncoderSettings,
    *,
    master_sha256: str | None = None,
    ladder: Ladder | None = None,
    workshop: Workshop | None = None,
    place: Path | None = None,
    beside: Sequence[Beside] = (),
    protection: Protection | None = None,
    on_progress: OnProgress = unheard,
) -> Encoded:
    """The package of `master` stands in the folder `out`, which was absent or empty before.

    Without `ladder` the film gets the one that the settings name, and without `workshop` its pieces
    are kept no longer than the call lasts. `beside` are subtitles that came with it; with
    `protection` it is encrypted. `place` is a folder to work in, of the same file system as `out`;
    its parent, if none is given.

    Raises Problem, for a master that cannot become a package with one of the codes of masters, else
    `bad_subtitles`, `encode_failed`, `encode_timeout`, `below_quality`, `not_conformant`,
    `disk_full`, `store_unavailable` or `missing_program`.
    """
    with private_folder(place or out.parent) as folder, _store_troubles():
        shop = workshop or Workshop(
            Here(settings.at_once), Kept(FileStore(folder / "kept"), package_id)
        )
        (folder / MASTER).symlink_to(master.resolve(strict=True))
        on_progress(at("probe"))
        digest = master_sha256
        if digest is None:
            digest = await asyncio.to_thread(sha256_of_file, master)
        source = await probe(folder, settings)
        texts = await subtitles(folder, source, beside, settings)
        if not source.seekable and source.duration_s > settings.chunk_s:
            source = await remuxed(folder, source, settings)
        chosen, report = await _ladder(
            folder, source, settings, ladder, digest, shop.kept, on_progress
        )
        chosen = with_codecs(chosen, settings.codecs.split(","))
        recipe = make_recipe(source, chosen)
        # Pieces, tracks made of them and the segments cut from those lie side by side for a while,
        # and films fill about half of what their caps allow.
        check_room(folder, recipe.most_bytes * 3 // 2 + settings.spare_bytes)
        await _encode(folder, recipe, digest, settings, shop, on_progress)
        on_progress(at("judge"))
        judged = await judge(folder, recipe, settings)
        promised = report.promised() if report is not None else {}
        if fault := below(judged, promised, settings.quality_floor):
            raise Problem("below_quality", f"The encode is not published: {fault}.")
        on_progress(at("package"))
        await _package(folder, recipe, settings, protection)
        on_progress(at("package", 0.5))
        try:
            finishing = asyncio.to_thread(
                finish_package,
                folder / _PACKAGE,
                recipe,
                title_id,
                package_id,
                Reports(recipe, report, judged, texts),
            )
            made = await unbroken(finishing)
            await _conform(folder / _PACKAGE)
            (folder / _PACKAGE).rename(out)
        except OSError as error:
            raise disk_problem(error) from error
        return Encoded(out, made.inventory, made.inventory_sha256, chosen)


async def _ladder(
    folder: Path,
    source: Source,
    settings: EncoderSettings,
    given: Ladder | None,
    digest: str,
    kept: Kept,
    on_progress: OnProgress,
) -> tuple[Ladder, LadderReport | None]:
    """The film's ladder; with the reasons, when it was measured."""
    if given is not None:
        return fitted(given, source), None
    if settings.ladder == "apple" or min(source.width, source.height) < MIN_TRIED:
        return fixed_ladder(source), None
    on_progress(at("ladder"))
    try:
        gop_s = Ladder.model_fields["gop_s"].default
        trials = await tried_out(folder, source, gop_s, settings, digest, kept)
    except Problem as problem:
        # Excerpts may lie where a film has no frames. If it is damaged, its encode will say so.
        logger().warning("no_trials", code=problem.code, detail=problem.detail)
        return fixed_ladder(source), None
    found = curves(trials)
    points = [point for curve in found.values() for point in curve]
    chosen = choose(points, {height: cap_bps(source, height) for height in found})
    ladder = film_ladder(source, chosen)
    return ladder, LadderReport(tuple(trials), found, tuple(chosen), ladder)


@contextmanager
def _store_troubles() -> Iterator[None]:
    """What a store says, as a Problem."""
    try:
        yield
    except StoreFull:
        raise Problem("disk_full") from None
    except StoreUnavailable as error:
        raise Problem("store_unavailable", f"The object store: {error}.") from error


async def _encode(
    folder: Path,
    recipe: Recipe,
    digest: str,
    settings: EncoderSettings,
    shop: Workshop,
    on_progress: OnProgress,
) -> None:
    """`{rendition_id}.mp4` of every output is in the folder."""
    pieces = pieces_of(recipe, _cut(recipe, settings), digest, settings)
    address = await _address(folder / MASTER, shop)
    tally = Tally(
        {p.key: p.frames for p in pieces if p.frames}, recipe.source.frame_rate, time.monotonic()
    )

    def note(piece: Piece, frames: int) -> None:
        if piece.frames:
            on_progress(tally.note(piece.key, frames, time.monotonic()))

    on_progress(at("encode"))
    for _ in range(_TRIES):
        missing = []
        for piece in pieces:
            if await shop.kept.has(piece):
                tally.had(piece.key)
            else:
                missing.append(piece)
        logger().info("pieces", all=len(pieces), missing=len(missing))
        await shop.farm.fill(Order(missing, address, shop.kept, folder, settings, note))
        if await _collect(folder, recipe, pieces, shop.kept, settings):
            return
    raise Problem("encode_failed", "Pieces of the encode were damaged again and again.")


def _cut(recipe: Recipe, settings: EncoderSettings) -> Sequence[Chunk]:
    source = recipe.source
    return cut(
        source.cadence.frames,
        recipe.gop_frames * recipe.segment_gops,
        source.frame_rate,
        settings.chunk_s,
        start_s=source.cadence.start_s,
        entries=source.entries if source.seekable else (),
    )


async def _address(master: Path, shop: Workshop) -> str:
    """Where the farm reads the master: a copy that was remuxed goes into the store first."""
    if shop.address is None:
        return str(master)
    if not master.resolve().is_relative_to(master.parent.resolve()):
        return shop.address
    key = f"{shop.kept.prefix}{MASTER}.mkv"
    await shop.kept.store.put_file(key, master)
    return await shop.kept.store.address(key, ADDRESS_S)


async def _collect(
    folder: Path, recipe: Recipe, pieces: Sequence[Piece], kept: Kept, settings: EncoderSettings
) -> bool:
    """The pieces are joined, rendition by rendition. False when one of them is damaged."""
    for rendition_id in recipe.rendition_ids:
        parts = [piece for piece in pieces if rendition_id in piece.rendition_ids]
        for number, piece in enumerate(parts):
            if not await kept.get(piece, rendition_id, folder / f"{rendition_id}.{number}"):
                return False
        await _join(folder, recipe, rendition_id, parts, settings)
    return True


async def _join(
    folder: Path,
    recipe: Recipe,
    rendition_id: str,
    parts: Sequence[Piece],
    settings: EncoderSettings,
) -> None:
    """`{rendition_id}.mp4` is the files `{rendition_id}.0` and so on, which are gone."""
    names = [f"{rendition_id}.{number}" for number in range(len(parts))]
    if len(parts) == 1:
        (folder / names[0]).rename(folder / f"{rendition_id}.mp4")
        return
    listed, rate = f"{rendition_id}.txt", recipe.source.frame_rate
    (folder / listed).write_text(joined(names, [part.frames / rate for part in parts]))
    argv = join_argv(programs.ffmpeg(), rendition_id, listed, recipe.timescale)
    try:
        await run_child(argv, limits=settings.limits(settings.encode_timeout_s), cwd=folder)
    except ChildFailed as failed:
        raise _broke("join", failed) from failed
    for name in names:
        (folder / name).unlink()


async def _conform(package: Path) -> None:
    """The package keeps every rule that can be looked at without decoding it again."""
    found = await check_package(package, decode=False)
    if found.failed:
        first = found.failed[0]
        logger().error("not_conformant", rules=[rule.id for rule in found.failed])
        raise Problem("not_conformant", f"{first.clause}: {first.sentence} {first.seen}.")


async def _package(
    folder: Path, recipe: Recipe, settings: EncoderSettings, protection: Protection | None
) -> None:
    argv = package_argv(
        programs.packager(),
        recipe.rendition_ids,
        recipe.segment_s,
        recipe.gop_s,
        recipe.timescale,
        _PACKAGE,
        protection,
    )
    (folder / _PACKAGE).mkdir()
    try:
        await run_child(argv, limits=settings.limits(settings.encode_timeout_s), cwd=folder)
    except ChildFailed as failed:
        raise _broke("packager", failed) from failed
    try:
        await make_stills(folder, folder / _PACKAGE, recipe, settings)
    except ChildFailed as failed:
        raise _broke("stills", failed) from failed


def _broke(what: str, failed: ChildFailed) -> Problem:
    """A step that only fails for want of room, or by a fault of ours."""
    command = _KEY.sub(r"\1…", failed.command)
    logger().warning(f"{what}_failed", command=command, stderr=failed.stderr[-2000:])
    if "No space left" in failed.stderr:
        return Problem("disk_full")
    return Problem("encode_failed", f"The {what} failed: {failed}.")
