"""Pieces of an encode: a chunk of the pictures in all rungs, or a sound track.

A piece is named by a digest of all that decides its bytes: the master's, what is made of which part
of it, the settings and the tool. So one that stands in the store is done, whoever made it: a retry
makes what is missing, and two who make the same piece do no harm. Its files first, then the word
that they are all there.

    work/{package_id}/{key}/{rendition_id}.mp4 …  done.json
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from encoder.chunks import Chunk
from encoder.ffmpeg import (
    MASTER,
    ProgressReader,
    explain,
    loudness_argv,
    pictures_argv,
    sound_argv,
)
from encoder.loudness import Loudness
from encoder.recipe import AudioOutput, Recipe
from encoder.settings import EncoderSettings
from media.inventory import FileEntry, FileList, sha256_of_file, to_bytes
from media.objects import ObjectStore
from runtime import programs
from runtime.child import ChildFailed, run_child
from runtime.errors import Problem
from runtime.log import logger

_DONE = "done.json"
_MAX_DONE_BYTES = 64 * 1024
ADDRESS_S = 24 * 3600  # how long an address of the master can be read

Tell = Callable[[int], None]  # frames that are encoded


@dataclass(frozen=True)
class Piece:
    """What is to be made of the master with this digest. `tool` says which ffmpeg makes it."""

    master_sha256: str
    recipe: Recipe
    part: Chunk | AudioOutput
    preset: str
    loudness_lufs: float  # 0: as it is
    tool: str

    @cached_property
    def key(self) -> str:
        """Its name."""
        text = json.dumps(asdict(self), default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    @property
    def rendition_ids(self) -> tuple[str, ...]:
        """What it has a file of."""
        if isinstance(self.part, AudioOutput):
            return (self.part.rendition_id,)
        return tuple(rung.rendition_id for rung in self.recipe.video)

    @property
    def frames(self) -> int:
        """Of the pictures; none of sound."""
        return self.part.frames if isinstance(self.part, Chunk) else 0

    @property
    def most_bytes(self) -> int:
        """What a single file can weigh. Pictures of pure noise overrun a cap, but none weighs
        several times all of them."""
        return 4 * self.recipe.most_bytes + (16 << 20)


def pieces_of(
    recipe: Recipe, chunks: Iterable[Chunk], master_sha256: str, settings: EncoderSettings
) -> list[Piece]:
    """Everything that is to be made; sound first, for a track is as long as the film."""
    # What only told where to cut decides nothing of the bytes.
    bare = replace(recipe, source=replace(recipe.source, activity=(), entries=(), shots_s=()))
    tool, target = programs.ffmpeg_version(), settings.loudness_lufs
    parts: list[Chunk | AudioOutput] = [*recipe.audio, *chunks]
    return [Piece(master_sha256, bare, part, settings.preset, target, tool) for part in parts]


class Kept:
    """The pieces of one package, in a store."""

    def __init__(self, store: ObjectStore, package_id: str) -> None:
        self.store = store
        self.package_id = package_id
        self.prefix = f"work/{package_id}/"

    async def has(self, piece: Piece) -> bool:
        """The piece is done, as far as sizes tell."""
        try:
            for entry in (await self._done(piece)).files:
                if (await self.store.stat(self._key(piece, entry.path))).bytes != entry.bytes:
                    return False
        except (FileNotFoundError, ValueError):
            return False
        return True

    async def put(self, piece: Piece, folder: Path) -> None:
        """The piece, whose files are in `folder`, is done."""
        entries = []
        for name in _names(piece):
            entries.append(await asyncio.to_thread(_entry, folder / name, name))
            await self.store.put_file(self._key(piece, name), folder / name)
        done = to_bytes(FileList(files=tuple(entries)))
        await self.store.put_bytes(self._key(piece, _DONE), done)

    async def get(self, piece: Piece, rendition_id: str, path: Path) -> bool:
        """`path` is the piece's file of that rendition. False, and the piece is no longer done,
        when the file is not what it was."""
        name = f"{rendition_id}.mp4"
        key = self._key(piece, name)
        path.unlink(missing_ok=True)
        try:
            named = next(entry for entry in (await self._done(piece)).files if entry.path == name)
            at = await self.store.address(key, ADDRESS_S)
            if at.startswith("/"):
                path.symlink_to(at)
            else:
                await self.store.get_file(key, path)
            if await asyncio.to_thread(_entry, path, name) != named:
                raise ValueError(f"{name} has changed")
        except (FileNotFoundError, ValueError) as error:
            logger().warning("piece_damaged", piece=piece.key, error=str(error))
            path.unlink(missing_ok=True)
            await self.store.delete(self._key(piece, _DONE))
            return False
        return True

    async def note(self, name: str, data: bytes) -> None:
        """What was found out on the way is kept beside them."""
        await self.store.put_bytes(self.prefix + name, data)

    async def recall(self, name: str) -> bytes | None:
        """What was noted by this name, if anything."""
        try:
            return await self.store.get_bytes(self.prefix + name, max_bytes=_MAX_DONE_BYTES)
        except (FileNotFoundError, ValueError):
            return None

    async def clear(self) -> None:
        """Nothing is left of them."""
        async for found in self.store.list_objects(self.prefix):
            await self.store.delete(found.key)

    async def _done(self, piece: Piece) -> FileList:
        raw = await self.store.get_bytes(self._key(piece, _DONE), max_bytes=_MAX_DONE_BYTES)
        done = FileList.model_validate_json(raw)
        if [entry.path for entry in done.files] != _names(piece):
            raise ValueError("the piece has other files")
        return done

    def _key(self, piece: Piece, name: str) -> str:
        return f"{self.prefix}{piece.key}/{name}"


async def make(
    piece: Piece, master: str, kept: Kept, settings: EncoderSettings, place: Path, tell: Tell
) -> None:
    """The piece is done, if it was not before; `master` is a file's path or an address, and `place`
    a folder to work in. Raises Problem, `truncated_file` where frames are missing, and
    StoreUnavailable."""
    if await kept.has(piece):
        return
    if piece.tool != programs.ffmpeg_version():
        raise Problem("missing_program", f"This machine's ffmpeg is not {piece.tool}.")
    with tempfile.TemporaryDirectory(prefix=".nearcast-", dir=place) as name:
        folder = Path(name)
        if not master.startswith(("http://", "https://")):
            (folder / MASTER).symlink_to(master)
            master = MASTER
        reader = ProgressReader(frames=piece.frames)

        def take(line: str) -> None:
            if reader.feed(line) and piece.frames:
                tell(min(reader.frame, piece.frames - 1))  # not done until it is kept

        limits = settings.limits(settings.encode_timeout_s, piece.most_bytes)
        try:
            heard = Loudness()
            if isinstance(piece.part, AudioOutput) and piece.loudness_lufs:
                argv = _listening(piece, piece.part, master, settings)
                await run_child(argv, limits=limits, cwd=folder, on_line=heard.feed)
            argv = _argv(piece, master, heard, settings)
            await run_child(argv, limits=limits, cwd=folder, on_line=take)
        except ChildFailed as failed:
            logger().warning("ffmpeg_failed", command=failed.command, stderr=failed.stderr[-2000:])
            raise explain(failed) from failed
        if reader.frame < piece.frames:
            missing = f"{piece.frames - reader.frame} of its frames could not be decoded."
            raise Problem("truncated_file", f"The file is cut off or damaged: {missing}")
        await kept.put(piece, folder)
    tell(piece.frames)


def _listening(
    piece: Piece, track: AudioOutput, master: str, settings: EncoderSettings
) -> list[str]:
    return loudness_argv(
        programs.ffmpeg(), piece.recipe, track, master, max_pixels=settings.max_pixels
    )


def _argv(piece: Piece, master: str, heard: Loudness, settings: EncoderSettings) -> list[str]:
    program, recipe, part = programs.ffmpeg(), piece.recipe, piece.part
    if isinstance(part, AudioOutput):
        gain_db = heard.gain_db(piece.loudness_lufs) if piece.loudness_lufs else 0.0
        return sound_argv(program, recipe, part, master, gain_db, max_pixels=settings.max_pixels)
    return pictures_argv(
        program,
        recipe,
        part,
        master,
        preset=piece.preset,
        threads=settings.threads,
        max_pixels=settings.max_pixels,
    )


def _names(piece: Piece) -> list[str]:
    return [f"{rendition_id}.mp4" for rendition_id in piece.rendition_ids]


def _entry(path: Path, name: str) -> FileEntry:
    return FileEntry(path=name, bytes=path.stat().st_size, sha256=sha256_of_file(path))
