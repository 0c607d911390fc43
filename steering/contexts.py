"""The context of a session, which is the last element of its steering address.

All that an answer needs travels in the token, so any instance can answer, also after a restart.
It is a JWT (HS256) under a secret that only steering has.
"""

import secrets
from pathlib import Path

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media.fleet import ClientAddress
from media.ids import Name, PackageId, SessionId
from media.secret import read_or_make
from runtime.errors import Problem

MAX_OFFERED = 17  # sixteen appliances and the last resort
SECRET_BYTES = 32
# Seventeen names of 32 characters and the ids, in base64, with room.
MAX_TOKEN_CHARS = 1600


class Context(BaseModel):
    """Who plays what where, and the pathways that its manifest offers."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    session_id: SessionId = Field(alias="sid")
    package_id: PackageId = Field(alias="pkg")
    region: Name = Field(alias="reg")
    client: ClientAddress | None = Field(None, alias="cli")
    offered: tuple[Name, ...] = Field(alias="ids", min_length=1, max_length=MAX_OFFERED)
    expires_s: int = Field(alias="exp")


class Contexts:
    """Signs contexts, and reads them again."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def open(cls, path: Path) -> "Contexts":
        """With the secret in `path`, made there (0600) when the file does not exist."""
        secret = read_or_make(path, lambda: secrets.token_bytes(SECRET_BYTES))
        if len(secret) < SECRET_BYTES:
            raise Problem("internal", f"{path} is damaged: it has to hold {SECRET_BYTES} bytes.")
        return cls(secret)

    def sign(self, context: Context) -> str:
        """The token, about 400 characters."""
        claims = context.model_dump(by_alias=True, exclude_none=True)
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def read(self, token: str) -> Context:
        """The context, whether it has expired or not: a player that asks late still wants an
        answer. Raises Problem `token_invalid` for anything that is not ours."""
        if len(token) > MAX_TOKEN_CHARS:
            raise Problem("token_invalid")
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], options={"verify_exp": False}
            )
            return Context.model_validate(claims)
        except (jwt.PyJWTError, ValidationError):
            raise Problem("token_invalid") from None
