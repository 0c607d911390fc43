"""Settings of the encoder: the table [encoder] of nearcast.toml."""

from typing import Literal

from pydantic import Field

from runtime.child import Limits
from runtime.settings import Settings

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]

# Decoders allocate by what a header says.
MAX_PIXELS = 8192 * 4320


class EncoderSettings(Settings):
    """Where work comes from and goes to, and what one film may take."""

    control_plane_url: str = Field(
        "http://127.0.0.1:8080",
        pattern=r"^https?://[^\s?#]+$",
        description="Control plane that hands out jobs",
    )
    store: str = Field(
        "", description="file:///path or s3://bucket?endpoint=…; empty: the data folder's store"
    )
    # It needs room for a master and twice its package, for each job.
    work: str = Field(
        "", description="Folder to work in; empty: encoder/{instance} in the data folder"
    )
    # One encode fills the cores it finds, so more helps only on large machines.
    jobs: int = Field(1, ge=1, le=64, description="Films at a time")
    farm: str = Field(
        "",
        pattern=r"^((tcp|tls)://[^\s/]+:\d+)?$",
        description="Scheduler of a Dask cluster that encodes; empty: this process does",
    )
    at_once: int = Field(
        0, ge=0, le=64, description="Chunks at a time, if there is no farm; 0: by the cores"
    )
    chunk_s: float = Field(
        30.0, gt=0, description="Seconds of film that are encoded by themselves; a kill loses these"
    )
    threads: int = Field(
        0, ge=0, le=256, description="Threads of each video encoder; 0: what the machine has"
    )
    ladder: Literal["auto", "apple"] = Field(
        "auto", description="Rungs: auto, measured for each film; apple, by the picture's size"
    )
    codecs: str = Field(
        "avc",
        pattern=r"^(avc|hevc|av1|opus)(,(avc|hevc|av1|opus))*$",
        description="avc always; more, by commas: hevc, av1, opus",
    )
    loudness_lufs: float = Field(
        -23.0, ge=-40, le=0, description="Loudness of all sound (EBU R 128); 0: as it is"
    )
    preset: Preset = Field("veryfast", description="x264's trade of time for bits")
    quality: Literal["sampled", "full", "off"] = Field(
        "sampled", description="How much of each rung is judged beside the film, by VMAF"
    )
    quality_floor: float = Field(
        30.0,
        ge=0,
        le=100,
        description="VMAF of the best rung, at least; else it is not published",
    )
    max_duration_s: float = Field(6 * 3600.0, gt=0, description="Longest film that is taken")
    max_pixels: int = Field(
        MAX_PIXELS, gt=0, lt=1 << 31, description="Largest picture that is taken"
    )
    probe_timeout_s: float = Field(
        900.0, gt=0, description="For reading a master's packet times, the whole file once"
    )
    encode_timeout_s: float = Field(
        12 * 3600.0, gt=0, description="For one run of ffmpeg or of the packager"
    )
    memory_bytes: int = Field(
        16 * 1024**3, ge=1024**3, description="Address space of one ffmpeg or packager"
    )
    spare_bytes: int = Field(
        256 * 1024**2, ge=0, description="Disk that stays free beyond what a job may write"
    )
    wait_s: float = Field(
        5.0, ge=0, le=10, description="How long a question for work stays open when there is none"
    )
    heartbeat_s: float = Field(
        2.0, gt=0, le=10, description="Between two signs of life; a lease lasts 30 s"
    )

    def limits(self, timeout_s: float, file_bytes: int = 1 << 40) -> Limits:
        """What one child process may use."""
        return Limits(timeout_s=timeout_s, memory_bytes=self.memory_bytes, file_bytes=file_bytes)
