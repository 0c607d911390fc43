"""The whole API against its own document: schemathesis makes requests of it, sound and unsound, and
no answer is a failure of ours or one that the document does not know."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.control_plane.house import House, send

# `make accept` takes more of both.
EXAMPLES = os.environ.get("NEARCAST_EXAMPLES", "2")
PHASES = "coverage,fuzzing" if "NEARCAST_EXAMPLES" in os.environ else "fuzzing"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
# A stream of events does not end by itself.
LEFT_OUT = "/v1/jobs/{job_id}/events"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("ids", ["made-up", "real"])
async def test_no_answer_is_outside_the_document(
    house: House, tmp_path: Path, ids: str, record_property: Callable[[str, object], None]
):
    argv = ["run", f"{house.url}/openapi.json", "--checks", CHECKS, "--exclude-path", LEFT_OUT]
    argv += ["--phases", PHASES, "--max-examples", EXAMPLES, "--continue-on-failure"]
    argv += ["--request-timeout", "30", "--seed", "1", "--no-color", "--warnings", "off"]
    argv += ["--header", f"Authorization: Bearer {await _key(house)}"]
    if ids == "real":  # and they stay so
        argv += ["--exclude-method", "DELETE"]
        folder = tmp_path / "real"
        folder.mkdir()
        (folder / "schemathesis.toml").write_text(await _real(house))
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *argv,
        cwd=tmp_path / "real" if ids == "real" else tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-20_000:]
    (cases,) = (line for line in said.decode().splitlines() if "generated" in line)
    record_property("cases", cases.strip())


async def _key(house: House) -> str:
    """Not a device's token: requests sign devices out, and forget the keys of tokens."""
    admin = await house.account("admin")
    key = await send(admin, "POST", "/v1/api-keys", name="schemathesis", role="admin")
    return str(key["secret"])


async def _real(house: House) -> str:
    """A configuration that names what there is."""
    admin = await house.account("admin")
    title = await house.published()
    session = await house.play(title, "admin")
    profile = await send(admin, "POST", "/v1/profiles", name="Anna")
    user = await send(admin, "POST", "/v1/users", name="anna", password="a long password")
    new = {"filename": "film.mp4", "bytes": 5}
    upload = await send(admin, "POST", f"/v1/titles/{title.title_id}/uploads", **new)
    purge = await send(admin, "POST", "/v1/purges", title_id=title.title_id)
    await send(admin, "PUT", "/v1/plans/basic", streams=1)
    named = {
        "title_id": title.title_id,
        "session_id": session.session_id,
        "key": session.hls_url.split("/")[-2],
        "profile_id": profile["profile_id"],
        "user_id": user["user_id"],
        "upload_id": upload["upload_id"],
        "job_id": purge["job_id"],
        "package_id": title.package_id,
        "plan": "basic",
        "appliance": "north-1",
        "region": "north",
        "number": "1",
        "language": "en",
        "sha256": "0" * 64,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in named.items()]
    return "\n".join(["[parameters]", *lines, ""])
