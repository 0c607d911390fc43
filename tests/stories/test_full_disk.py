"""A store on a disk that is full, really: a small tmpfs in a mount namespace of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.running import make_clip, running_cluster

DISK = "6m"
UNSHARE = ["unshare", "--mount", "--map-root-user"]


@pytest.fixture
def mount_namespace() -> None:
    """Skips where the kernel or a container allows no namespaces; under CI=true that fails."""
    tried = shutil.which("unshare") and subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    if not tried or tried.returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("no mount namespace can be made here")
        pytest.skip("no mount namespace can be made here")


def test_an_upload_to_a_full_store(tmp_path: Path, mount_namespace: None) -> None:
    """One sentence with a code, the right status, and no byte left behind; then all goes on."""
    store = tmp_path / "data" / "store"
    store.mkdir(parents=True)
    mount = f'mount -t tmpfs -o size={DISK} none {store} && exec "$@"'
    large = tmp_path / "large.mp4"  # nobody gets to look into it
    large.write_bytes(os.urandom(7 * 1024**2))
    small = make_clip(tmp_path / "small.mp4", frames=24, size="320x180")
    with running_cluster(tmp_path, 1, through=[*UNSHARE, "sh", "-c", mount, "sh"]) as cluster:
        inside = Path(f"/proc/{cluster.pid_of('control_plane')}/root") / store.relative_to("/")
        answer = cluster.nearcast("upload", str(large), "--title", "Large", check=False)
        assert (answer["code"], answer["status"], answer["exit_code"]) == ("disk_full", 507, 1)
        assert [path for path in inside.rglob("*") if path.is_file()] == []
        cluster.nearcast("upload", str(small), "--title", "Small", "--wait")
        assert cluster.nearcast("title", "show", "Small")["state"] == "published"
