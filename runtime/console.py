"""What all commands share: where the cluster is, who asks, and how answers and errors look."""

import asyncio
import json as jsonlib
import os
import platform
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

from media.accounts import Login, Refresh
from media.protection import Scheme
from runtime.client import Client
from runtime.control_api import ControlApi
from runtime.errors import Problem, as_json

T = TypeVar("T")

DataOption = Annotated[
    Path, typer.Option("--data", envvar="NEARCAST_DATA", help="The cluster's data folder.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]

# Of a film, wherever it goes.
SubtitlesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--subtitles",
        metavar="LANGUAGE=FILE",
        help="SRT or WebVTT beside the film; may be given again. Those in it are kept anyway.",
    ),
]
EncryptOption = Annotated[
    Scheme | None,
    typer.Option("--encrypt", help="Encrypt it: cbcs, which all of today's players take, or cenc."),
]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def perform(
    work: Coroutine[Any, Any, T],
    *,
    json: bool = False,
    run: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run,
) -> T:
    """The result of the work, which `run` runs. A Problem becomes one sentence on standard error,
    or with `json` its problem document on standard output; the program then ends with 1."""
    try:
        return run(work)
    except Problem as problem:
        if json:
            print_json(as_json(problem))
        else:
            sentence = escape(f"{problem.detail} {problem.kind.hint}".rstrip())
            err.print(f"[red]error:[/red] {sentence}", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def print_json(answer: BaseModel | dict[str, Any]) -> None:
    """The document on standard output."""
    if isinstance(answer, BaseModel):
        answer = answer.model_dump(mode="json", by_alias=True)
    print(jsonlib.dumps(answer, indent=2))


def size_text(count: int) -> str:
    """Bytes for people."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if size >= 100 or unit == "B" else f"{size:.1f} {unit}"


def running_cluster(data: Path) -> dict[str, Any]:
    """`run.json` of the cluster in this data folder. Raises Problem when none runs."""
    try:
        described = jsonlib.loads((data / "run.json").read_text())
        os.kill(described["pid"], 0)
    except (OSError, ValueError, KeyError):
        raise Problem(
            "unavailable", f"No cluster runs in {data}. Start one with `nearcast up --data {data}`."
        ) from None
    return dict(described)


@asynccontextmanager
async def signed_in(data: Path) -> AsyncIterator[ControlApi]:
    """The control plane's API, signed in: the address from NEARCAST_URL and an API key from
    NEARCAST_API_KEY, or an account from NEARCAST_USER and NEARCAST_PASSWORD, or else those of the
    cluster in the data folder. It stays signed in for as long as the command takes."""
    url = os.environ.get("NEARCAST_URL") or running_cluster(data)["control_plane"]
    api_key = os.environ.get("NEARCAST_API_KEY")
    if api_key:
        async with ControlApi(Client(url, authorize=lambda: api_key, timeout_s=30.0)) as api:
            yield api
        return
    async with ControlApi(Client(url)) as anonymous:
        tokens = await anonymous.login(_account(data))

        async def renew() -> None:
            nonlocal tokens
            while True:
                left_s = (tokens.expires_at - datetime.now(UTC)).total_seconds()
                await asyncio.sleep(max(left_s / 2, 5.0))
                with suppress(Problem):  # the old token lasts a while, and a call will tell
                    tokens = await anonymous.refresh(Refresh(refresh_token=tokens.refresh_token))

        renewing = asyncio.create_task(renew(), name="renew-token")
        try:
            client = Client(url, authorize=lambda: tokens.access_token, timeout_s=30.0)
            async with ControlApi(client) as api:
                try:
                    yield api
                finally:
                    with suppress(Problem):  # it lapses by itself, too
                        await api.logout(timeout_s=3.0)
        finally:
            renewing.cancel()


def _account(data: Path) -> Login:
    name, password = os.environ.get("NEARCAST_USER"), os.environ.get("NEARCAST_PASSWORD")
    device = f"nearcast on {platform.node()}"[:100]
    if name and password:
        return Login(name=name, password=password, device=device)
    try:
        login = Login.model_validate_json((data / "secrets" / "admin.json").read_text())
    except OSError:
        raise Problem(
            "not_signed_in",
            "Set NEARCAST_API_KEY, or NEARCAST_USER and NEARCAST_PASSWORD, or give the cluster's "
            "--data.",
        ) from None
    return login.model_copy(update={"device": device})
