"""Still pictures of a film: sprites to seek by, and a poster.

    thumbs/1.jpg 2.jpg …   sprites, a grid of small pictures each
    thumbs/index.vtt       which picture stands for which time, as `2.jpg#xywh=160,90,160,90`
    thumbs/poster.jpg      one picture that says most

They are made of key frames of finished rungs, so that hardly anything is decoded.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
from ffmpeg.nodes import FilterableStream

from encoder.recipe import Recipe, VideoOutput
from encoder.settings import EncoderSettings
from media.dash import Thumbnails
from media.inventory import POSTER
from media.webvtt import Cue, write_webvtt
from runtime import programs
from runtime.child import run_child

FOLDER = "thumbs"
GRID = (5, 5)
MOST = 720  # small pictures: one every ten seconds of a film of two hours
_HEIGHT = 90
_POSTER_HEIGHT = 720
_POSTER_FROM = Fraction(1, 10)  # before this part of a film there are titles, and black
_POSTER_OF = 60  # key frames, of which one is chosen


@dataclass(frozen=True)
class Sprites:
    """What the sprites of a recipe will be. Pure."""

    size: tuple[int, int]
    gops: int  # one picture for so many
    every_s: Fraction
    count: int

    @property
    def files(self) -> int:
        """How many there are."""
        return math.ceil(self.count / (GRID[0] * GRID[1]))

    def index(self, duration_s: float) -> str:
        """`index.vtt`."""
        cues = []
        for number in range(self.count):
            file, at = divmod(number, GRID[0] * GRID[1])
            row, column = divmod(at, GRID[0])
            place = (column * self.size[0], row * self.size[1], *self.size)
            start = float(number * self.every_s)
            end = min(float((number + 1) * self.every_s), duration_s)
            cues.append(Cue(start, end, f"{file + 1}.jpg#xywh={','.join(map(str, place))}"))
        return write_webvtt(cues)

    def told(self, folder: Path) -> Thumbnails:
        """As the MPD tells of them; the files are in the folder."""
        lasts_s = float(self.every_s) * GRID[0] * GRID[1]
        most = max((folder / f"{n}.jpg").stat().st_size for n in range(1, self.files + 1))
        return Thumbnails(GRID, self.size, float(self.every_s), math.ceil(8 * most / lasts_s))


def sprites_of(recipe: Recipe) -> Sprites:
    """Small pictures of the film, at most `MOST`."""
    gops = math.ceil(recipe.source.cadence.frames / recipe.gop_frames)
    each = math.ceil(gops / MOST)
    rung = _smallest(recipe)
    width = max(2, round(_HEIGHT * rung.width / rung.height / 2) * 2)
    return Sprites((width, _HEIGHT), each, each * recipe.gop_s, math.ceil(gops / each))


async def make_stills(
    folder: Path, package: Path, recipe: Recipe, settings: EncoderSettings
) -> None:
    """The pictures are in the package, made of the rungs in `folder`. Raises ChildFailed."""
    (package / FOLDER).mkdir()
    limits = settings.limits(settings.encode_timeout_s)
    for argv in (_sprites_argv(recipe, package), _poster_argv(recipe, package)):
        await run_child(argv, limits=limits, cwd=folder)


def _smallest(recipe: Recipe) -> VideoOutput:
    """The least rung that is no smaller than its picture here."""
    rungs = sorted(_for_all(recipe), key=lambda rung: rung.height)
    return next((rung for rung in rungs if rung.height >= _HEIGHT), rungs[-1])


def _for_all(recipe: Recipe) -> list[VideoOutput]:
    """Rungs in the colours of standard dynamic range, as pictures are."""
    return [rung for rung in recipe.video if rung.codec == "avc"]


def _sprites_argv(recipe: Recipe, package: Path) -> list[str]:
    sprites = sprites_of(recipe)
    film = ffmpeg.input(f"{_smallest(recipe).rendition_id}.mp4", skip_frame="nokey")
    shown = film["v:0"].filter("select", f"not(mod(n,{sprites.gops}))")
    shown = shown.filter("scale", *sprites.size, flags="area", out_range="full")
    shown = shown.filter("format", "yuvj420p").filter("tile", f"{GRID[0]}x{GRID[1]}")
    return _jpeg(shown, str(package / FOLDER / "%d.jpg"), quality=5, most=sprites.files)


def _poster_argv(recipe: Recipe, package: Path) -> list[str]:
    rungs = _for_all(recipe)
    best = max((r for r in rungs if r.height <= _POSTER_HEIGHT), key=lambda r: r.height,
               default=min(rungs, key=lambda r: r.height))  # fmt: skip
    gops = math.ceil(recipe.source.cadence.frames / recipe.gop_frames)
    first = int(gops * _POSTER_FROM)
    # Spread over the film: of one scene all look alike.
    each = max(1, (gops - first) // _POSTER_OF)
    film = ffmpeg.input(f"{best.rendition_id}.mp4", skip_frame="nokey")
    chosen = film["v:0"].filter("select", f"gte(n,{first})*not(mod(n-{first},{each}))")
    chosen = chosen.filter("thumbnail", n=min(_POSTER_OF, max(2, (gops - first) // each)))
    shown = chosen.filter("scale", best.width, best.height, out_range="full")
    shown = shown.filter("format", "yuvj420p")
    return _jpeg(shown, str(package / POSTER), quality=3, most=1)


def _jpeg(pictures: FilterableStream, path: str, *, quality: int, most: int) -> list[str]:
    options = {"q:v": quality, "frames:v": most, "update": int("%" not in path)}
    out = pictures.output(path, f="image2", fps_mode="passthrough", **options)
    command = out.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-xerror", "-y")
    return list(command.compile(cmd=programs.ffmpeg()))
