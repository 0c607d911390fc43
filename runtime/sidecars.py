"""Files beside a film, as people name them on the command line."""

from pathlib import Path

from media.ids import LANGUAGE
from media.webvtt import MAX_BYTES, Cue, read_subtitles
from runtime.errors import Problem


def read_named(text: str) -> tuple[str, bytes]:
    """Language and bytes of `LANGUAGE=FILE`. Raises Problem `bad_request` or `bad_subtitles`."""
    language, equals, name = text.partition("=")
    path = Path(name)
    if not equals or not LANGUAGE.fullmatch(language):
        raise Problem("bad_request", f"{text} is not LANGUAGE=FILE, such as en=film.srt.")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Problem("bad_request", f"{path} cannot be read: {error.strerror}.") from None
    read_cues(raw, str(path))
    return language, raw


def read_cues(raw: bytes, name: str) -> list[Cue]:
    """The cues of SRT or WebVTT. Raises Problem `bad_subtitles`."""
    try:
        return read_subtitles(raw)
    except ValueError as error:
        raise Problem("bad_subtitles", f"The subtitles in {name}: {error}.") from None
