"""Commands of accounts: user, key, audit."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from media.accounts import (
    ApiKeys,
    AuditPage,
    MadeApiKey,
    NewApiKey,
    NewUser,
    Role,
    Rotation,
    User,
    UserChange,
)
from runtime.api import valid
from runtime.console import DataOption, JsonOption, out, perform, print_json, signed_in
from runtime.control_api import ControlApi
from runtime.errors import Problem

_PAGE = 200
_MAX_PAGES = 500

app = typer.Typer(no_args_is_help=True, add_completion=False)
user_app = typer.Typer(
    no_args_is_help=True,
    help="List, add, change or remove users.\n\nExample: nearcast user add anna --role operator",
    add_completion=False,
)
key_app = typer.Typer(
    no_args_is_help=True,
    help="Keys for programs, in place of a password.\n\n"
    "Example: nearcast key add nightly --role operator",
    add_completion=False,
)
app.add_typer(user_app, name="user")
app.add_typer(key_app, name="key")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name, or its id.")]
PlanOption = Annotated[
    str | None, typer.Option("--plan", help="What it may play: see `nearcast plan list`.")
]
RoleOption = Annotated[Role, typer.Option("--role", help="What the account may do.")]
PasswordOption = Annotated[
    str,
    typer.Option(
        "--password",
        envvar="NEARCAST_NEW_PASSWORD",
        prompt="Password (10 characters or more)",
        hide_input=True,
        confirmation_prompt=True,
        help="Asked for when it is not given.",
    ),
]


@user_app.command("list")
def user_list(data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """List the users, the newest first.

    Example: nearcast user list
    """

    async def work() -> list[User]:
        async with signed_in(data) as api:
            return await _all_users(api)

    found = perform(work(), json=json)
    if json:
        print_json({"users": [user.model_dump(mode="json") for user in found]})
    else:
        _show_users(found)


@user_app.command("add")
def user_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and ._@-.")],
    password: PasswordOption,
    role: RoleOption = "viewer",
    plan: PlanOption = None,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Add a user.

    Example: nearcast user add anna --role operator
    """

    async def work() -> User:
        new = valid(NewUser, name=name, password=password, role=role, plan=plan)
        async with signed_in(data) as api:
            return await api.create_user(new)

    _say(perform(work(), json=json), json)


@user_app.command("change")
def user_change(
    name: NameArgument,
    role: Annotated[Role | None, typer.Option("--role", help="Its new role.")] = None,
    disabled: Annotated[
        bool | None,
        typer.Option("--disable/--enable", help="Whether it can sign in.", show_default=False),
    ] = None,
    plan: PlanOption = None,
    no_plan: Annotated[bool, typer.Option("--no-plan", help="It may play everything.")] = False,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Change a user's plan, its role, or whether it can sign in: then it is signed out.

    Example: nearcast user change anna --disable
    """
    wanted = {"role": role, "disabled": disabled, "plan": plan}
    given: dict[str, object] = {name: said for name, said in wanted.items() if said is not None}
    if no_plan:
        given["plan"] = None

    async def work() -> User:
        change = valid(UserChange, **given)
        async with signed_in(data) as api:
            user = await _find_user(api, name)
            return await api.change_user(user.user_id, change)

    _say(perform(work(), json=json), json)


@user_app.command("password")
def user_password(
    name: NameArgument,
    password: PasswordOption,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Give a user another password. It is signed out everywhere.

    Example: nearcast user password anna
    """

    async def work() -> User:
        change = valid(UserChange, password=password)
        async with signed_in(data) as api:
            user = await _find_user(api, name)
            return await api.change_user(user.user_id, change)

    _say(perform(work(), json=json), json)


@user_app.command("remove")
def user_remove(
    name: NameArgument,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Remove a user, with profiles, history and keys.

    Example: nearcast user remove anna
    """

    async def work() -> User:
        async with signed_in(data) as api:
            user = await _find_user(api, name)
            await api.delete_user(user.user_id)
            return user

    removed = perform(work(), json=json)
    if json:
        print_json(removed)
    else:
        out.print(f"{escape(removed.name)} ({removed.user_id}) is removed.")


@user_app.command("admin")
def user_admin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and ._@-.")],
    password: PasswordOption,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings, such as nearcast.toml.")
    ] = None,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Make an admin, or give one another password, straight in the database: for the first one,
    and for when nobody knows a password any more. Nothing has to run.

    Example: nearcast user admin grace --data .nearcast
    """

    async def work() -> bool:
        new = valid(NewUser, name=name, password=password, role="admin")
        return await _reset_admin(new, data, config)

    made = perform(work(), json=json)
    if json:
        print_json({"name": name, "made": made})
    else:
        out.print(f"{escape(name)} is {'a new admin' if made else 'an admin with a new password'}.")


@key_app.command("list")
def key_list(data: DataOption = Path(".nearcast"), json: JsonOption = False) -> None:
    """List your API keys.

    Example: nearcast key list
    """

    async def work() -> ApiKeys:
        async with signed_in(data) as api:
            return await api.api_keys()

    found = perform(work(), json=json)
    if json:
        print_json(found)
        return
    table = Table("id", "name", "role", "made", "expires", box=None)
    for key in found.keys:
        expires = f"{key.expires_at:%Y-%m-%d}" if key.expires_at else "never"
        table.add_row(key.key_id, escape(key.name), key.role, f"{key.created_at:%Y-%m-%d}", expires)
    out.print(table if found.keys else "There are no keys. Make one: nearcast key add NAME")


@key_app.command("add")
def key_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: RoleOption = "viewer",
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Make an API key; its secret is shown this once.

    Example: nearcast key add nightly --role operator
    """

    async def work() -> MadeApiKey:
        new = valid(NewApiKey, name=name, role=role)
        async with signed_in(data) as api:
            return await api.create_api_key(new)

    made = perform(work(), json=json)
    if json:
        print_json(made)
    else:
        out.print(f"[bold]{made.secret}[/bold]", soft_wrap=True)
        out.print("Keep it now: it is shown this once. Programs give it as NEARCAST_API_KEY.")


@key_app.command("remove")
def key_remove(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Of `nearcast key list`.")],
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Revoke an API key.

    Example: nearcast key remove key_01jd…
    """

    async def work() -> None:
        async with signed_in(data) as api:
            await api.revoke_api_key(key_id)

    perform(work(), json=json)
    if json:
        print_json({"key_id": key_id})
    else:
        out.print(f"{escape(key_id)} opens nothing any more.")


@key_app.command("rotate")
def key_rotate(
    forget: Annotated[
        bool,
        typer.Option("--forget", help="All access tokens end now: for when a key got known."),
    ] = False,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """Have another key sign access tokens from now on. That happens by itself every 30 days.

    Example: nearcast key rotate --forget
    """

    async def work() -> None:
        async with signed_in(data) as api:
            await api.rotate_access_keys(Rotation(forget=forget))

    perform(work(), json=json)
    if json:
        print_json({"forgotten": forget})
    else:
        out.print("Another key signs access tokens now.")


@app.command()
def audit(
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")] = 50,
    data: DataOption = Path(".nearcast"),
    json: JsonOption = False,
) -> None:
    """What operators and admins did, the newest first.

    Example: nearcast audit --limit 20
    """

    async def work() -> AuditPage:
        async with signed_in(data) as api:
            return await api.audit(limit=limit)

    found = perform(work(), json=json)
    if json:
        print_json(found)
        return
    table = Table("at", "who", "from", "what", "to", "outcome", box=None)
    for entry in found.entries:
        table.add_row(
            f"{entry.at:%Y-%m-%d %H:%M:%S}",
            escape(entry.who),
            entry.address,
            entry.what,
            entry.subject,
            entry.outcome,
        )
    out.print(table)


async def _reset_admin(new: NewUser, data: Path, config: Path | None) -> bool:
    from control_plane.accounts import reset_admin
    from control_plane.clock import utc_now
    from control_plane.database import Database
    from control_plane.passwords import Passwords
    from control_plane.settings import ControlPlaneSettings
    from runtime.settings import load

    settings = load(ControlPlaneSettings, "control_plane", file=config)
    data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url(data))
    passwords = Passwords(
        passes=settings.argon2_passes,
        memory_kib=settings.argon2_memory_kib,
        lanes=settings.argon2_lanes,
    )
    try:
        await database.migrate()
        return await reset_admin(database, passwords, new.name, new.password, utc_now)
    finally:
        passwords.close()
        await database.close()


async def _all_users(api: ControlApi) -> list[User]:
    found: list[User] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        page = await api.users(cursor=cursor, limit=_PAGE)
        found += page.users
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    return found


async def _find_user(api: ControlApi, name: str) -> User:
    """The user of this name or id. Raises Problem `unknown_user`."""
    for user in await _all_users(api):
        if name in (user.name, user.user_id):
            return user
    raise Problem("unknown_user", f"There is no user {name!r}.")


def _say(user: User, json: bool) -> None:
    if json:
        print_json(user)
    else:
        _show_users([user])


def _show_users(users: list[User]) -> None:
    table = Table("name", "id", "role", "plan", "made", "state", box=None)
    for user in users:
        made = f"{user.created_at:%Y-%m-%d}" if user.created_at else "–"
        state = "disabled" if user.disabled else ""
        table.add_row(escape(user.name), user.user_id, user.role, user.plan or "–", made, state)
    out.print(table)
