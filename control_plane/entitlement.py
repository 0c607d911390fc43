"""Who may watch what, and how much of it: pure.

A *plan* limits an account: height, codecs, streams at once, regions. A *title* limits itself:
ages, regions, days. What is left unset limits nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from media.inventory import Rendition
from runtime.errors import Problem

# What each sample entry (ISO/IEC 14496-15; AV1-ISOBMFF) is called in plans.
_CODEC_OF = {
    "avc1": "avc",
    "avc3": "avc",
    "hvc1": "hevc",
    "hev1": "hevc",
    "av01": "av1",
    "vp09": "vp9",
}


@dataclass(frozen=True)
class Limits:
    """What a plan allows; None: whatever there is."""

    max_height: int | None = None
    codecs: Collection[str] | None = None
    streams: int | None = None
    regions: Collection[str] | None = None


@dataclass(frozen=True)
class Window:
    """When and where a title plays, and from what age."""

    maturity: int | None = None
    regions: Collection[str] | None = None
    available_from: datetime | None = None
    available_until: datetime | None = None

    def open_at(self, now: datetime) -> bool:
        """Whether these are the days: the end is not one of them."""
        begun = self.available_from is None or self.available_from <= now
        return begun and (self.available_until is None or now < self.available_until)


def check_title(title: Window, age: int | None, now: datetime) -> None:
    """Raises Problem `not_available` outside the title's days, and `too_mature` when a profile
    sees films up to an age only: one that says no age is not for it."""
    if not title.open_at(now):
        raise Problem("not_available")
    if not fits_age(title.maturity, age):
        raise Problem("too_mature")


def fits_age(maturity: int | None, age: int | None) -> bool:
    """Whether a title of this maturity is for a profile of this limit; None limits nothing."""
    return age is None or (maturity is not None and maturity <= age)


def check_region(title: Window, plan: Limits, region: str) -> None:
    """Raises Problem `not_in_region` where the title is not shown, `not_in_plan` where the account
    does not play."""
    if title.regions is not None and region not in title.regions:
        raise Problem("not_in_region", f"The title is not shown in {region}.")
    if plan.regions is not None and region not in plan.regions:
        raise Problem("not_in_plan", f"The account does not play in {region}.")


def allowed_renditions(
    renditions: Sequence[Rendition], plan: Limits
) -> tuple[Rendition, ...] | None:
    """The renditions that the plan allows, None for all: sound and text are in every plan. Raises
    Problem `not_in_plan` when it allows none of the pictures."""
    kept = tuple(r for r in renditions if r.kind != "video" or _is_allowed(r, plan))
    if len(kept) == len(renditions):
        return None
    if not any(r.kind == "video" for r in kept):
        raise Problem("not_in_plan", "The account's plan allows none of the title's pictures.")
    return kept


def _is_allowed(video: Rendition, plan: Limits) -> bool:
    # Of a film that stands upright, the width is what people call its height.
    sides = [side for side in (video.width, video.height) if side is not None]
    fits = plan.max_height is None or min(sides, default=0) <= plan.max_height
    codec = _CODEC_OF.get(video.codecs.partition(".")[0])
    return fits and (plan.codecs is None or codec in plan.codecs)
