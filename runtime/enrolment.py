"""A machine joins the fleet: its key is made here, and what it runs by is fetched and written.

All of it can be done again, after a crash or a lost answer: the key that was made is the one that
is shown again, and files are replaced in one step.
"""

import json
import os
import socket
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from media.enrolment import Enrolled, Enrolment
from media.keys import Identity, Keyring, PublicIdentity
from media.token import sign_machine_token
from runtime.client import Client
from runtime.control_api import ControlApi
from runtime.durable import write_durably
from runtime.errors import Problem
from runtime.service import parse_listen

CONFIG = "nearcast.toml"
CREDENTIALS = "secrets/store.env"
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Wishes:
    """What the operator of the machine wants of it; empty or None: as is usual."""

    data: Path
    listen: str
    admin_listen: str
    public_url: str = ""
    steering_url: str = ""
    store: str = ""
    cache_dirs: tuple[str, ...] = ()
    budget_bytes: int | None = None


async def enrol(url: str, token: str, wishes: Wishes) -> Enrolled:
    """The control plane at `url` knows this machine, and the data folder has key, key ring and
    settings. Raises Problem; one of the control plane's own leaves the key alone behind, which the
    next try shows again."""
    name = token.partition(".")[0]
    secrets = wishes.data / "secrets"
    try:
        _check_folder(secrets, name)
        identity = Identity.open(name, "appliance", secrets / f"{name}.key")
    except (OSError, ValueError) as error:
        raise Problem("bad_settings", f"{wishes.data} cannot be used: {error}.") from None
    enrolment = Enrolment(
        token=token,
        ed25519=identity.public.ed25519,
        proof=sign_machine_token(identity, "control", int(time.time())),
        public_url=wishes.public_url or None,
    )
    async with ControlApi(Client(url, timeout_s=_TIMEOUT_S)) as control:
        enrolled = await control.enrol(enrolment)
    if enrolled.appliance_id != name:
        raise Problem("unavailable", f"{url} gave an answer to somebody else.")
    try:
        _write(enrolled, url, wishes)
    except (OSError, ValueError) as error:
        raise Problem("bad_settings", f"{wishes.data} cannot be written: {error}.") from None
    return enrolled


def own_url(listen: str, control_url: str) -> str:
    """The address by which others reach what listens there: its own, or, where it listens on all,
    the one that the way to the control plane begins with. Empty for a port that is not known yet.
    Raises Problem `bad_settings`."""
    host, port = parse_listen(listen)
    if port == 0:
        return ""
    if host in ("0.0.0.0", "::"):
        host = _address_towards(control_url, ipv4=host == "0.0.0.0")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def warnings(url: str, enrolled: Enrolled) -> list[str]:
    """What an operator should see to, one sentence each."""
    found = []
    there = urlsplit(url)
    if there.scheme == "http" and not is_loopback(there.hostname or ""):
        found.append(
            f"{url} is plain HTTP: whoever is on the way can read the token, and name keys of his "
            "own. Use https://, or a network that is yours."
        )
    steering = urlsplit(enrolled.steering_url).hostname or ""
    if is_loopback(steering) and not is_loopback(there.hostname or ""):
        found.append(
            f"Steering's address, {enrolled.steering_url}, is of the control plane's own machine: "
            "set control_plane.steering_public_url there, or give --steering-url here."
        )
    store = urlsplit(enrolled.store)
    if store.scheme == "file" and not Path(store.path).is_dir():
        found.append(
            f"The store is a folder, {store.path}, that is not on this machine: mount it there, or "
            "give --store. Until then files come from other appliances only."
        )
    if store.scheme == "s3" and not enrolled.store_credentials:
        found.append(
            "The store's read key is not sent: put AWS_ACCESS_KEY_ID=… and "
            f"AWS_SECRET_ACCESS_KEY=… into {CREDENTIALS} of the data folder. Until then files come "
            "from other appliances only."
        )
    return found


def start_argv(name: str, data: Path) -> list[str]:
    """The command that runs the appliance."""
    return [sys.executable, "-m", "nearcast", "appliance", name, "--data", str(data.absolute())]


def config_text(enrolled: Enrolled, url: str, wishes: Wishes) -> str:
    """The settings file. Strings of JSON are strings of TOML."""
    settings: dict[str, object] = {
        "site": enrolled.site,
        "listen": wishes.listen,
        "admin_listen": wishes.admin_listen,
        "public_url": wishes.public_url,
        "store": wishes.store or enrolled.store,
        "steering_url": wishes.steering_url or enrolled.steering_url,
    }
    if wishes.cache_dirs:
        settings["cache_dirs"] = list(wishes.cache_dirs)
    if wishes.budget_bytes is not None:
        settings["budget_bytes"] = wishes.budget_bytes
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    head = f"# {enrolled.appliance_id}, enrolled at {url}; that writes this file anew."
    return "\n".join([head, "", "[appliance]", *lines, ""])


def credentials_of(data: Path) -> dict[str, str]:
    """The store's credentials that the data folder has, as environment variables."""
    try:
        lines = (data / CREDENTIALS).read_text().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Problem("bad_settings", f"{data / CREDENTIALS} cannot be read: {error}.") from None
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs if name.startswith("AWS_")}


def _check_folder(secrets: Path, name: str) -> None:
    """Raises Problem `data_in_use` for the folder of others, whose key ring ours would replace."""
    others = sorted(path.stem for path in secrets.glob("*.key") if path.stem != name)
    if others:
        raise Problem("data_in_use", f"{secrets.parent} is the data folder of {others[0]}.")


def _write(enrolled: Enrolled, url: str, wishes: Wishes) -> None:
    secrets = wishes.data / "secrets"
    if enrolled.store_credentials:
        lines = "".join(f"{key}={value}\n" for key, value in enrolled.store_credentials.items())
        _write_private(wishes.data / CREDENTIALS, lines.encode())
    ring = Keyring([PublicIdentity.of(key.name, key.role, key.ed25519) for key in enrolled.keys])
    ring.write(secrets / "trust.json")
    write_durably(wishes.data / CONFIG, config_text(enrolled, url, wishes).encode())


def _write_private(path: Path, data: bytes) -> None:
    """The file holds `data`, belongs to whom its folder does, and was never open to others."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        if os.geteuid() == 0:  # systemd has given the folder to the service's account
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def is_loopback(host: str) -> bool:
    """The name, or the address, is of whichever machine uses it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address_towards(url: str, *, ipv4: bool) -> str:
    """This machine's address on the way there; nothing is sent. Raises Problem `unavailable`."""
    parts = urlsplit(url)
    wanted = socket.AF_INET if ipv4 else socket.AF_UNSPEC
    try:
        family, _, _, _, address = socket.getaddrinfo(
            parts.hostname, parts.port or 443, wanted, socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        why = f"Our own address on the way to {url} is not found ({error}): give --public-url."
        raise Problem("unavailable", why) from None
