"""Commands by which machines join and leave: `nearcast fleet invite|invitations|withdraw|enrol|
forget`."""

import asyncio
import getpass
import re
import shlex
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.table import Table

import runtime
from media.enrolment import (
    LONGEST_S,
    Enrolled,
    EnrolmentToken,
    Invitations,
    MadeInvitation,
    NewInvitation,
)
from media.fleet import Url
from runtime import enrolment
from runtime.api import valid
from runtime.console import DataOption, JsonOption, err, out, perform, print_json, signed_in
from runtime.control_api import ControlApi
from runtime.enrolment import Wishes
from runtime.errors import Problem
from runtime.service import parse_listen
from runtime.systemd import Unit

_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZES = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LEAST_BYTES = 1024**2
Appliance = Annotated[str, typer.Argument(metavar="ID", help="The appliance's id.")]


def invite(
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site it will stand in.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Its id; the site's next number if not given.")
    ] = None,
    ttl: Annotated[str, typer.Option("--ttl", help="How long the token is good.")] = "1h",
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Let one machine join a site, once: makes the token for `nearcast fleet enrol`.

    Example: nearcast fleet invite west --name west-3 --ttl 30m
    """

    async def make() -> MadeInvitation:
        new = valid(NewInvitation, site=site, appliance_id=name, ttl_s=_seconds(ttl))
        async with signed_in(data) as control:
            return await control.invite(new)

    made = perform(make(), json=json)
    if json:
        print_json(made)
        return
    out.print(
        f"On the machine that is to be {made.appliance_id}, until {made.expires_at:%H:%M:%S} UTC:"
    )
    command = ["nearcast", "fleet", "enrol", made.control_plane_url, "--token", made.token]
    out.print(f"\n  [bold]{escape(shlex.join(command))}[/bold]\n", soft_wrap=True)
    out.print("The token is shown this once, and lets one machine in.")
    if enrolment.is_loopback(urlsplit(made.control_plane_url).hostname or ""):
        out.print(
            "That address is good on this machine alone: for another one, set listen and "
            "public_url of control_plane and steering."
        )


def invitations(data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """List who may join, and who just did.

    Example: nearcast fleet invitations
    """

    async def ask() -> Invitations:
        async with signed_in(data) as control:
            return await control.invitations()

    found = perform(ask(), json=json)
    if json:
        print_json(found)
        return
    table = Table("appliance", "site", "expires (UTC)", "used", box=None)
    for one in found.invitations:
        used = "yes" if one.used else "no"
        table.add_row(one.appliance_id, one.site, f"{one.expires_at:%Y-%m-%d %H:%M:%S}", used)
    out.print(table if found.invitations else "Nobody is invited.")


def withdraw(
    appliance_id: Appliance, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Take an invitation back; a machine that has used it stays.

    Example: nearcast fleet withdraw west-3
    """
    _drop(ControlApi.withdraw_invitation, appliance_id, data, json)
    if json:
        print_json({"appliance_id": appliance_id})
    else:
        out.print(f"Nobody can join as {escape(appliance_id)} any more.")


def forget(
    appliance_id: Appliance, data: DataOption = Path(".nearcast"), json: JsonOption = False
) -> None:
    """Trust an appliance's key no more: it is refused everywhere, and gets no viewers.

    Example: nearcast fleet forget west-3
    """
    _drop(ControlApi.forget_appliance, appliance_id, data, json)
    if json:
        print_json({"appliance_id": appliance_id})
    else:
        out.print(f"{escape(appliance_id)} is no appliance of this fleet any more.")


def enrol(
    url: Annotated[str, typer.Argument(metavar="URL", help="The control plane's address.")],
    token: Annotated[
        str, typer.Option("--token", envvar="NEARCAST_TOKEN", help="Of `nearcast fleet invite`.")
    ],
    data: Annotated[Path, typer.Option("--data", help="The appliance's data folder.")] = Path(
        "/var/lib/nearcast"
    ),
    listen: Annotated[str, typer.Option("--listen", help="Data port.")] = "0.0.0.0:8090",
    admin_listen: Annotated[
        str, typer.Option("--admin-listen", help="Admin port, for operators.")
    ] = "127.0.0.1:8091",
    public_url: Annotated[
        str, typer.Option("--public-url", help="Address that players use; if not the data port's.")
    ] = "",
    cache_dir: Annotated[
        list[str] | None,
        typer.Option("--cache-dir", metavar="PATH[=SIZE]", help="May be given again."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Of the cache, such as 500G; 10G if not given.")
    ] = None,
    steering_url: Annotated[
        str, typer.Option("--steering-url", help="If it is not the one that we are told.")
    ] = "",
    store: Annotated[
        str, typer.Option("--store", help="Object store, if it is not the one that we are told.")
    ] = "",
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Print a systemd unit, or write it to --unit.")
    ] = False,
    unit: Annotated[
        Path | None,
        typer.Option("--unit", help="File for it, /etc/systemd/system/nearcast-ID.service say."),
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Have systemctl enable and start the unit; wants --unit.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Turn this machine into an appliance: makes its key, shows it, and writes what it runs by.

    It can be run again, until the token expires: it shows the same key.

    Example: nearcast fleet enrol https://control.example --token west-3.x… --budget 500G --systemd
    """
    if now and unit is None:
        raise typer.BadParameter("--now wants --unit")
    data = data.absolute()

    async def join() -> tuple[Enrolled, Wishes]:
        address = _checked(Url, url.rstrip("/"), "URL is no http:// or https:// address")
        _checked(EnrolmentToken, token, "--token is none")
        parse_listen(admin_listen)
        wishes = Wishes(
            data=data,
            listen=listen,
            admin_listen=admin_listen,
            public_url=public_url or enrolment.own_url(listen, address),
            steering_url=steering_url,
            store=store,
            cache_dirs=tuple(_cache_dir(one) for one in cache_dir or ()),
            budget_bytes=None if budget is None else _bytes(budget),
        )
        if wishes.public_url:
            _checked(Url, wishes.public_url, "--public-url is no http:// or https:// address")
        enrolled = await enrolment.enrol(address, token, wishes)
        return enrolled.model_copy(
            update={
                "steering_url": steering_url or enrolled.steering_url,
                "store": store or enrolled.store,
            }
        ), wishes

    enrolled, wishes = perform(join(), json=json)
    made = _unit(enrolled.appliance_id, wishes) if systemd or unit else None
    if made is not None and unit is not None:
        perform(_install(made, unit, now), json=json)
    _tell(url, enrolled, wishes, made, unit, now, json)


def _tell(
    url: str,
    enrolled: Enrolled,
    wishes: Wishes,
    made: Unit | None,
    written: Path | None,
    started: bool,
    json: bool,
) -> None:
    command = enrolment.start_argv(enrolled.appliance_id, wishes.data)
    warnings = enrolment.warnings(url, enrolled)
    if json:
        print_json(
            {
                "appliance_id": enrolled.appliance_id,
                "site": enrolled.site,
                "public_url": wishes.public_url,
                "steering_url": enrolled.steering_url,
                "store": enrolled.store,
                "config": str(wishes.data / enrolment.CONFIG),
                "start": command,
                "unit": made.text() if made is not None else None,
                "first": made.first() if made is not None else [],
                "warnings": warnings,
            }
        )
        return
    for warning in warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    said = f"This machine is {enrolled.appliance_id} of site {enrolled.site}; its settings are in"
    out.print(f"{said} {escape(str(wishes.data / enrolment.CONFIG))}.", soft_wrap=True)
    if made is None:
        out.print(f"\nStart it: {escape(shlex.join(command))}", soft_wrap=True)
        return
    if written is None:
        out.print(f"\n{made.text()}", markup=False, soft_wrap=True)
    if started:
        out.print(f"{escape(str(written))} is enabled, and runs.")
        return
    there = written or Path(f"/etc/systemd/system/nearcast-{enrolled.appliance_id}.service")
    steps = [*made.first(), f"systemctl enable --now {shlex.quote(str(there.absolute()))}"]
    out.print("As root:" if written else f"As root, with this in {there}:")
    for step in steps:
        out.print(f"  {step}", markup=False, soft_wrap=True)


async def _install(made: Unit, path: Path, now: bool) -> None:
    """The unit is in the file, and runs if it is to. Raises Problem."""
    try:
        path.write_text(made.text())
    except OSError as error:
        raise Problem("bad_settings", f"{path} cannot be written: {error.strerror}.") from None
    if not now:
        return
    for step in [*made.first(), f"systemctl enable --now {shlex.quote(str(path.absolute()))}"]:
        try:
            await asyncio.to_thread(
                subprocess.run, ["/bin/sh", "-c", step], check=True, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as error:
            why = error.stderr.strip()[-500:] or f"exit code {error.returncode}"
            raise Problem("internal", f"`{step}` failed: {why}") from None


def _unit(name: str, wishes: Wishes) -> Unit:
    user = getpass.getuser()
    return Unit(
        name=name,
        argv=enrolment.start_argv(name, wishes.data),
        data=wishes.data,
        caches=tuple(Path(one.partition("=")[0]).absolute() for one in wishes.cache_dirs),
        user="nearcast" if user == "root" else user,
        program=Path(runtime.__file__).absolute().parents[1],
        port=parse_listen(wishes.listen)[1],
    )


def _drop(
    drop: Callable[[ControlApi, str], Awaitable[None]], appliance_id: str, data: Path, json: bool
) -> None:
    async def change() -> None:
        async with signed_in(data) as control:
            await drop(control, appliance_id)

    perform(change(), json=json)


def _checked(kind: Any, given: str, why: str) -> str:
    try:
        return str(TypeAdapter(kind).validate_python(given))
    except ValidationError:
        raise Problem("invalid_field", f"{why}.") from None


def _seconds(text: str) -> int:
    """`90s`, `30m`, `1h` or `2d`. Raises Problem."""
    fits = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    seconds = int(fits[1]) * _SPANS[fits[2]] if fits else 0
    if not 60 <= seconds <= LONGEST_S:
        raise Problem("invalid_field", "--ttl: a time from 1m to 7d, such as 30m.")
    return seconds


def _bytes(text: str) -> int:
    """`500G` (of 1024³), `2T`, or bytes. Raises Problem."""
    fits = re.fullmatch(r"([0-9]{1,18})([KMGT]?)", text)
    size = int(fits[1]) * 1024 ** _SIZES[fits[2]] if fits else 0
    if size < _LEAST_BYTES:
        raise Problem("invalid_field", f"{text!r} is no size from 1M on, such as 500G.")
    return size


def _cache_dir(text: str) -> str:
    """As the settings want it: an absolute path, its size in bytes."""
    path, equals, size = text.partition("=")
    return f"{Path(path).absolute()}={_bytes(size)}" if equals else str(Path(path).absolute())
