"""OpenStack Swift with its S3 API, on loopback, from pip: a real S3 server for tests.

A proxy, an account, a container and an object server with one replica on one folder. It
enforces SigV4 and part sizes, and lives as long as the `with` block.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.peers.process import free_ports

BIN = Path(sys.executable).parent
ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
READY_S = 30.0

_COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {etc}
devices = {devices}
mount_check = false
disable_fallocate = true
log_level = ERROR
log_address = /nonexistent
"""

_STORAGE = """[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
fallocate_reserve = 0
"""

_PROXY = """[pipeline:main]
pipeline = {pipeline}
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
min_segment_size = 5242880
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
storage_url_scheme = http
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
"""  # fmt: skip

_PIPELINE = (
    "catch_errors", "proxy-logging", "cache", "listing_formats", "bulk", "s3api", "tempauth",
    "slo", "dlo", "versioned_writes", "symlink", "copy", "proxy-logging", "proxy-server",
)  # fmt: skip
_PLAIN_FILTERS = {
    name: name.replace("-", "_")
    for name in ("catch_errors", "proxy-logging", "listing_formats", "bulk", "copy", "slo", "dlo")
} | {"symlink": "symlink"}

_SWIFT = """[swift-hash]
swift_hash_path_suffix = nearcast
swift_hash_path_prefix = nearcast
[storage-policy:0]
name = default
default = yes
"""

_RINGS = """
import json, sys
from swift.common.ring import RingBuilder

for kind, port in json.loads(sys.argv[1]).items():
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    where = {"ip": "127.0.0.1", "port": port}
    replication = {f"replication_{key}": value for key, value in where.items()}
    device = {"id": 0, "region": 1, "zone": 1, "device": "d1", "weight": 1.0, "meta": ""}
    builder.add_dev(device | where | replication)
    builder.rebalance()
    builder.get_ring().save(f"{kind}.ring.gz")
"""


@dataclass(frozen=True)
class S3Server:
    """Where an S3 server answers, and with what credentials."""

    endpoint: str
    access_key: str
    secret_key: str


@contextmanager
def running_swift(folder: Path) -> Iterator[S3Server]:
    """A ready Swift below `folder`; ended afterwards."""
    etc, devices = folder / "etc", folder / "srv"
    etc.mkdir(parents=True)
    (devices / "d1").mkdir(parents=True)
    (etc / "swift.conf").write_text(_SWIFT)
    kinds = ("account", "container", "object", "proxy")
    ports = dict(zip(kinds, free_ports(len(kinds)), strict=True))
    for kind, port in ports.items():
        common = _COMMON.format(port=port, user=_user(), etc=etc, devices=devices)
        if kind == "proxy":
            plain = "".join(
                f"[filter:{name}]\nuse = egg:swift#{egg}\n" for name, egg in _PLAIN_FILTERS.items()
            )
            (etc / "proxy.conf").write_text(
                common + _PROXY.format(pipeline=" ".join(_PIPELINE)) + plain
            )
        else:
            (etc / f"{kind}.conf").write_text(common + _STORAGE.format(kind=kind))
    _build_rings(etc, {kind: port for kind, port in ports.items() if kind != "proxy"})
    environment = os.environ | {"SWIFT_DIR": str(etc)}
    processes = [
        subprocess.Popen(
            [BIN / f"swift-{kind}-server", f"{kind}.conf"],
            cwd=etc,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=(folder / f"{kind}.log").open("wb"),
            start_new_session=True,
        )
        for kind in ports
    ]
    try:
        endpoint = f"http://127.0.0.1:{ports['proxy']}"
        _wait_until_it_answers(endpoint, processes, folder)
        yield S3Server(endpoint, ACCESS_KEY, SECRET_KEY)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _build_rings(etc: Path, ports: dict[str, int]) -> None:
    """A ring a kind, by one process: `swift-ring-builder` would be nine."""
    subprocess.run(
        [sys.executable, "-c", _RINGS, json.dumps(ports)], cwd=etc, check=True, capture_output=True
    )


def _wait_until_it_answers(
    endpoint: str, processes: list[subprocess.Popen[bytes]], folder: Path
) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and all(p.poll() is None for p in processes):
        try:
            urllib.request.urlopen(endpoint, timeout=1)
            return
        except urllib.error.HTTPError:
            return  # it answers: without a signature, with an error
        except OSError:
            time.sleep(0.1)
    logs = "\n".join(p.read_text()[-500:] for p in folder.glob("*.log"))
    raise RuntimeError(f"Swift did not answer:\n{logs}")


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
