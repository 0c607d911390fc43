"""The appliances' keys, heard from the control plane: who enrolled, and who was forgotten.

They stand in the notices, so that they are on disk here before anyone is trusted by them, and
appliances, which ask each other for files, hear of them as fast as of a purge.
"""

import asyncio

from media.enrolment import MachineKeys
from media.inventory import sha256_of
from runtime.client import Client
from runtime.errors import Problem
from runtime.log import logger
from steering.notices import NoticeDesk
from steering.roster import RosterBook

WAIT_S = 5.0
_RETRY_S = 1.0


class MachineList:
    """Follows `GET /v1/machines` of the control plane, by long poll."""

    def __init__(self, client: Client, notices: NoticeDesk, roster: RosterBook) -> None:
        self._client = client
        self._notices = notices
        self._roster = roster
        self._known = ""

    async def follow(self) -> None:
        """Asks for ever. While nobody answers the last keys stand."""
        away = False
        while True:
            try:
                await self.refresh()
                away = False
            except (Problem, ValueError) as error:  # ValueError: an answer that is none
                if not away:
                    logger().warning("machines_unknown", why=str(error))
                away = True
                await asyncio.sleep(_RETRY_S)

    async def refresh(self) -> None:
        """The notices have the keys of now, and the roster nobody who was forgotten; at the latest
        after WAIT_S. Raises Problem, ValueError."""
        query = {"wait": str(WAIT_S)}
        raw = await self._client.call_raw("GET", "/v1/machines", query=query, known=self._known)
        if not raw:
            return
        heard = MachineKeys.model_validate_json(raw)
        await self._notices.trust(heard.keys)
        self._roster.forget(self._notices.board.forgotten)
        self._known = sha256_of(raw)
