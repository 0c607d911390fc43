"""What a master was found to be, and what is done about it, in sentences. Pure."""

from collections.abc import Iterator, Sequence

from encoder.recipe import Recipe
from encoder.subtitles import Subtitles

_HDR = {"pq": "HDR10 (PQ)", "hlg": "HLG"}


def findings(recipe: Recipe, subtitles: Sequence[Subtitles] = ()) -> list[str]:
    """For people who want to know why their film looks and sounds as it does."""
    said = [f"Subtitles, {s.language}: {len(s.cues):,} become {s.rendition_id}." for s in subtitles]
    pictures = [*_pictures(recipe), *_colours(recipe)]
    return [*pictures, *_sound(recipe), *said, *recipe.source.passed_over]


def _pictures(recipe: Recipe) -> Iterator[str]:
    source = recipe.source
    rhythm = source.cadence
    rate = f"{float(rhythm.rate):.3f}".rstrip("0").rstrip(".")
    yield (
        f"{source.width}×{source.height}, as it is shown; {rhythm.frames} frames,"
        f" {rate} a second, {source.duration_s:.2f} s."
    )
    if rhythm.variable:
        yield (
            f"Its frames keep no constant rate: they are repeated or left out to make {rate} a"
            " second, so that time stays true."
        )
    if len(source.shots_s) > 1:
        yield (
            f"Its key frames tell {len(source.shots_s)} shots,"
            f" of {source.duration_s / len(source.shots_s):.1f} s on average."
        )
    if abs(rhythm.start_s) > 0.001:
        yield f"Its first frame is at {rhythm.start_s:.3f} s of the file: there the film begins."
    if source.interlaced:
        yield "It is interlaced: its fields are made into one frame each two."
    if not source.seekable:
        yield "Its container cannot be sought: it is encoded in one piece."


def _colours(recipe: Recipe) -> Iterator[str]:
    colour = recipe.source.colour
    if colour.hdr:
        kept = sorted({rung.codec.upper() for rung in recipe.video if rung.hdr})
        yield f"It is {_HDR[colour.hdr]}: tone-mapped to standard dynamic range for AVC" + (
            f", and kept in {' and '.join(kept)}." if kept else "."
        )
    if colour.rgb:
        yield "Its pictures are RGB: they become YCbCr 4:2:0."
    if None in (colour.matrix, colour.primaries, colour.transfer) and not colour.rgb:
        yield "It does not say all of its colours: what its size suggests is assumed, and said."


def _sound(recipe: Recipe) -> Iterator[str]:
    source = recipe.source
    if not source.audio:
        yield "It has no sound."
    for track in source.audio:
        made = [out for out in recipe.audio if out.stream_index == track.index]
        names = ", ".join(out.rendition_id for out in made) or "nothing"
        yield f"Sound, {track.language}, {track.channels} channels: becomes {names}."
    if any(track.language == "und" for track in source.audio):
        yield "A sound track does not name its language: it is called undetermined, und."
