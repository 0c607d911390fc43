"""What an appliance says of itself and of its files: CMSD (CTA-5006), in a real one's answers."""

import re
from pathlib import Path

import pytest

import lab.peers
from appliance.answers import CORS
from appliance.tally import Tally
from tests.appliance.conftest import Standing
from tests.appliance.inside import answer, inside
from tests.appliance.test_serving import get

SAYS = {"CMCD-Object": "ot=v,d=6000"}
PEERS = Path(lab.peers.__file__).parent


def exposed(value: str) -> list[str]:
    """The names of a list of header fields."""
    return [name.strip() for name in value.split(",")]


async def test_every_answer_tells_of_its_file_and_fills_of_their_delay(shared: Standing) -> None:
    package = shared.package()
    url = shared.url(package, "v-avc-720/1.m4s")
    _, _, filled = await get(url)
    _, _, hit = await get(url)
    for fields in (filled, hit):  # three segments in 18 s, at 900 kbit/s
        assert fields["CMSD-Static"] == "ot=v,d=6000,br=900,st=v"
    assert re.fullmatch(r'"north-1";rd=\d+', filled["CMSD-Dynamic"])
    assert "CMSD-Dynamic" not in hit
    assert {"CMSD-Dynamic", "Retry-After"} <= set(exposed(hit["Access-Control-Expose-Headers"]))
    _, _, playlist = await get(shared.url(package, "hls/master.m3u8"))
    assert playlist["CMSD-Static"] == "ot=m,st=v"
    status, _, unchanged = await get(url, **{"If-None-Match": hit["ETag"]})
    assert (status, unchanged["CMSD-Static"]) == (304, hit["CMSD-Static"])


@pytest.mark.parametrize("config", ["nginx.conf", "proxy_cache.conf", "varnish.vcl"])
def test_the_peers_of_a_bench_send_heads_alike(config: str) -> None:
    ours = re.search(r"Expose-Headers: (.*)\r\n", CORS.decode())
    theirs = re.search(r'Expose-Headers (?:= )?"(.*)"', (PEERS / config).read_text())
    assert ours is not None and theirs is not None
    assert exposed(theirs[1]) == exposed(ours[1])


async def test_who_speaks_hears_of_the_connection(shared: Standing) -> None:
    url = shared.url(shared.package(), "v-avc-720/1.m4s")
    _, _, filled = await get(url, **SAYS)
    _, _, hit = await get(url + "?CMCD=bl%3D4000")
    assert re.fullmatch(r'"north-1";etp=\d+;rtt=\d+;rd=\d+', filled["CMSD-Dynamic"])
    assert re.fullmatch(r'"north-1";etp=\d+;rtt=\d+', hit["CMSD-Dynamic"])


async def test_duress_is_told_by_every_answer(tmp_path: Path) -> None:
    async with inside(tmp_path, {"1.m4s": 100_000}) as house, house.client() as (reader, writer):

        async def dynamic(*lines: str) -> str:
            writer.write(house.head("1.m4s", *lines))
            return (await answer(reader))[1].get("cmsd-dynamic", "")

        assert (await dynamic()).startswith('"north-1";rd=')
        assert await dynamic() == ""
        house.board.pressure = 0.9  # early fills have no room any more
        house.worker._tick()
        assert await dynamic() == '"north-1";du'
        assert re.fullmatch(r'"north-1";etp=\d+;rtt=\d+;du', await dynamic("CMCD-Object: ot=v"))
        house.board.pressure = 1.3  # and neither has a session that has just begun
        house.worker._tick()
        assert await dynamic() == '"north-1";du'
        assert house.worker.tally[Tally.SHED + 2] == 1
        house.board.pressure = 0.0
        house.worker._tick()
        assert await dynamic() == ""
