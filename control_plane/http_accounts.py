"""Handlers of accounts."""

from typing import cast

from control_plane.accounts import Accounts
from media.api import Login, NewUser, Role, Tokens, User
from runtime.api import Call


class AccountsHttp:
    """Signing in and users."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def login(self, call: Call) -> Tokens:
        return await self._accounts.sign_in(call.body(Login), call.address)

    async def me(self, call: Call) -> User:
        who = call.who
        return User(user_id=who.user_id or "", name=who.name, role=cast(Role, who.role))

    async def create_user(self, call: Call) -> User:
        return await self._accounts.create(call.body(NewUser))
