"""A cluster as people run it: `nearcast up` as a process, on free ports, and the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from tests.console import run_nearcast

NEARCAST = [sys.executable, "-m", "nearcast"]
# Free ports, and Argon2 as light as it gets: every command signs in anew.
CONFIG = """
[nearcast]
control_port = 0
steering_port = 0
data_port = 0
admin_port = 0
[control_plane]
argon2_passes = 1
argon2_memory_kib = 8
argon2_lanes = 1
"""
# The stories share a cluster: an appliance that one has stopped is to be as before for the next.
AT_ONCE = """
[steering]
recovery_s = 0
"""
FRAMES, RATE = 288, 24  # twelve seconds


@dataclass
class Running:
    """A running cluster: its process, its data folder, and its `run.json`."""

    process: subprocess.Popen[bytes]
    data: Path
    urls: dict[str, Any]

    def nearcast(self, *arguments: str, check: bool = True) -> dict[str, Any]:
        """A command's `--json` answer."""
        done = self.run(*arguments, "--json")
        if check and done.returncode != 0:
            raise AssertionError(f"nearcast {arguments}: {done.stdout!r} {done.stderr!r}")
        return dict(json.loads(done.stdout), exit_code=done.returncode)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, run to its end."""
        return run_nearcast([*arguments, "--data", str(self.data)])

    def access_log(self, appliance_id: str) -> list[dict[str, Any]]:
        """What the appliance has served so far."""
        path = self.data / "logs" / f"access-{appliance_id}.log"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def pid_of(self, instance: str) -> int:
        """The service's own process."""
        for pid, argv in self._processes(instance).items():
            if not any(word.startswith("--part=") for word in argv):
                return pid
        raise AssertionError(f"{instance} does not run")

    @contextmanager
    def killed(self, instance: str) -> Iterator[None]:
        """SIGKILL for every process of a service, which is dead until the block ends: `nearcast
        up`, which would start it again, is stopped meanwhile, and then does so."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            for pid in self._processes(instance):
                with suppress(ProcessLookupError):  # its parent's death has ended it
                    os.kill(pid, signal.SIGKILL)
            while self._processes(instance):
                time.sleep(0.001)
            yield
            assert not self._processes(instance), f"{instance} lives again"
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def stopped(self, instance: str) -> Iterator[None]:
        """SIGSTOP for every process of a service: it hangs until the block ends."""
        hung = list(self._processes(instance))
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in hung:
                os.kill(pid, signal.SIGCONT)

    def _processes(self, instance: str) -> dict[int, list[str]]:
        """The service's processes and their command lines. The dead have none."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                argv = (folder / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if f"--data={self.data}" in argv and f"--instance={instance}" in argv:
                found[int(folder.name)] = argv
        return found


@contextmanager
def running_cluster(
    folder: Path,
    appliances: int = 4,
    *,
    sites: Sequence[str] = ("north", "south", "west"),
    through: Sequence[str] = (),
    settings: str = AT_ONCE,
) -> Iterator[Running]:
    """`nearcast up`, ready; ended by SIGTERM. `through` is a command that executes it, `settings`
    are more tables of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "test.toml"
    own = CONFIG.replace("[nearcast]", f"[nearcast]\nsites = {list(sites)}")
    config.write_text(own + settings)
    data = folder / "data"
    process = subprocess.Popen(
        [
            *through, *NEARCAST, "up", "--json", f"--data={data}", f"--config={config}",
            f"--appliances={appliances}",
        ],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        text = b""
        while line := process.stdout.readline():
            text += line
            if line == b"}\n":
                break
        yield Running(process, data.absolute(), json.loads(text))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def make_clip(path: Path, *, frames: int = FRAMES, size: str = "640x360") -> Path:
    """A clip with moving pictures and a tone: `frames` frames at RATE."""
    seconds = frames / RATE
    subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y",
            "-f", "lavfi", "-i", f"testsrc2=s={size}:r={RATE}",
            "-f", "lavfi", "-t", f"{seconds}", "-i", "sine=440:r=48000",
            "-frames:v", str(frames), "-c:v", "libx264", "-preset", "ultrafast",
            "-c:a", "aac", "-ac", "2", str(path),
        ],
        check=True,
    )  # fmt: skip
    return path


def processes_of(data: Path) -> list[str]:
    """Command lines of all processes that name this data folder, or stand in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_text().replace("\0", " ")
            stands = (folder / "cwd").readlink()
        except OSError:
            continue
        if str(data) in argv or stands.is_relative_to(data):
            found.append(argv)
    return found


def files_below(folder: Path) -> list[Path]:
    """Files that stand there. Of those that come, move and go while one looks some may be missing,
    and what is still landing has no name yet."""
    walk = os.walk(folder)
    return [Path(top, name) for top, _, names in walk for name in names if name[0] != "."]
