"""A ladder and its rungs: the targets an encode aims at, before anything is measured."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Codec = Literal["avc", "hevc", "av1"]
AudioCodec = Literal["aac", "opus"]


class Rung(BaseModel):
    """One video target. `max_bps` caps the rate (VBV); below the cap `crf` sets the quality, unless
    `bps` sets the average rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    codec: Codec = "avc"
    height: int = Field(ge=64, le=4320)
    max_bps: int = Field(ge=50_000, le=100_000_000)
    crf: float = Field(23.0, ge=10, le=60)  # on the codec's own scale
    bps: int | None = Field(None, ge=50_000, le=100_000_000)
    # Tells two rungs of one height apart.
    mark: str = Field("", pattern=r"^([a-z0-9]{1,8})?$")

    @property
    def rendition_id(self) -> str:
        """`v-avc-720`, or `v-avc-720-q88`"""
        name = f"v-{self.codec}-{self.height}"
        return f"{name}-{self.mark}" if self.mark else name


class AudioRung(BaseModel):
    """One audio target for each audio track that is kept, and that has as many channels: surround
    sound is not made of stereo."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    codec: AudioCodec = "aac"
    bps: int = Field(128_000, ge=32_000, le=1_000_000)
    channels: int = Field(2, ge=1, le=8)

    @property
    def name(self) -> str:
        """`aac`, or `aac6` for six channels: what renditions call it."""
        return self.codec if self.channels <= 2 else f"{self.codec}{self.channels}"


STEREO = AudioRung()
SURROUND = AudioRung(bps=384_000, channels=6)
OPUS = AudioRung(codec="opus", bps=96_000)


class Ladder(BaseModel):
    """The rungs from the lowest to the highest, and how time is cut.

    A segment has `segment_gops` GOPs of `gop_s` seconds, so that every segment starts with an IDR
    (Apple HLS Authoring Specification 7.4) and boundaries agree across rungs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rungs: tuple[Rung, ...] = Field(min_length=1, max_length=48)
    audio: tuple[AudioRung, ...] = Field((STEREO, SURROUND), max_length=8)
    gop_s: float = Field(2.0, gt=0, le=10)
    segment_gops: int = Field(3, ge=1, le=10)

    @model_validator(mode="after")
    def _names_differ(self) -> "Ladder":
        for names in (
            [rung.rendition_id for rung in self.rungs],
            [rung.name for rung in self.audio],
        ):
            if len(set(names)) != len(names):
                raise ValueError("two rungs have one name; `mark` tells them apart")
        if any(rung.bps and rung.bps > rung.max_bps for rung in self.rungs):
            raise ValueError("the average rate of a rung, bps, is above its cap, max_bps")
        return self
