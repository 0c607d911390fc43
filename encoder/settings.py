"""The encoder's settings: the `[encoder]` table of nearcast.toml."""

from typing import Literal

from pydantic import Field

from runtime.child import Limits
from runtime.settings import Settings

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]


class EncoderSettings(Settings):
    """Where work comes from and goes to, and what one film may take."""

    # The control plane that hands out jobs.
    control_plane_url: str = Field("http://127.0.0.1:8080", pattern=r"^https?://[^\s?#]+$")
    # file:///path or s3://bucket?endpoint=…; empty means the store in the data folder.
    store: str = ""
    # Where films are worked on; empty means encoder/{instance} in the data folder. It needs room
    # for a master and twice its package, for each job.
    work: str = ""
    # Films at a time. One encode fills the cores it finds, so more helps only on large machines.
    jobs: int = Field(1, ge=1, le=64)
    # Threads of each video encoder; 0 lets it take what the machine has.
    threads: int = Field(0, ge=0, le=256)
    # x264's trade of time for bits.
    preset: Preset = "veryfast"
    # Longer films are refused before they are encoded.
    max_duration_s: float = Field(6 * 3600.0, gt=0)
    # Larger pictures are refused: decoders allocate by what a header says (8192 × 4320).
    max_pixels: int = Field(35_389_440, gt=0)
    # Reading a master's headers and packet times, the whole file once.
    probe_timeout_s: float = Field(900.0, gt=0)
    # One run of ffmpeg or of the packager.
    encode_timeout_s: float = Field(12 * 3600.0, gt=0)
    # Address space of one ffmpeg or packager.
    memory_bytes: int = Field(16 * 1024**3, ge=1024**3)
    # Disk that stays free, beyond what a job is expected to write.
    spare_bytes: int = Field(256 * 1024**2, ge=0)
    # How long the control plane may keep a question for work open when there is none.
    wait_s: float = Field(5.0, ge=0, le=10)
    # Between two signs of life; the control plane's lease lasts 30 s.
    heartbeat_s: float = Field(2.0, gt=0, le=10)

    def limits(self, timeout_s: float, file_bytes: int = 1 << 40) -> Limits:
        """What one child process may use."""
        return Limits(timeout_s=timeout_s, memory_bytes=self.memory_bytes, file_bytes=file_bytes)
