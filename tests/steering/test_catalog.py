"""The list of packages, as steering follows it."""

import time
from pathlib import Path

from media.token import sign_machine_token
from runtime.client import Client
from steering.catalog import PackageCatalog
from tests.steering_service import ControlPlane


async def test_a_list_that_has_not_changed_is_not_sent_again(
    tmp_path: Path, control: ControlPlane
) -> None:
    def token() -> str:
        return sign_machine_token(control.steering, "control", int(time.time()))

    async with Client(control.url, authorize=token) as client:
        catalog = PackageCatalog(client, tmp_path / "packages.json", 1.0)
        for _ in range(3):
            await catalog.refresh()
        again = PackageCatalog(client, tmp_path / "packages.json", 1.0)  # after a restart
        await again.refresh()
        assert control.answered == [200, 304, 304, 304]
        assert again.listing == catalog.listing and len(again.listing.packages) == 3
        control.packages = ()
        await again.refresh()
    assert again.listing.packages == ()
