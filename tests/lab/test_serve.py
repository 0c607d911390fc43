"""`nearcast bench serve` and `fill`, short: both sides of it really run."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from lab.bench import Effort
from lab.fill import bench_fill
from lab.forgery import forged_requests, offer
from lab.peers.nginx import WAYS
from lab.serve import bench_serve
from lab.stand import RENDITION, standing, verify
from runtime.errors import Problem
from runtime.programs import installed
from tests.lab.programs import need_programs

CONTRACT = {"case", "unit", "ours", "peer", "peer_name", "ratio", "bar", "ok"}


def _bench(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "nearcast", "bench", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    said = json.loads(done.stdout)
    assert "rows" in said, said
    assert all(set(row) >= CONTRACT for row in said["rows"])
    # So short a run may miss a bar; then the command says so by its exit code.
    assert done.returncode == (1 if any(row["ok"] is False for row in said["rows"]) else 0)
    return {row["case"]: row for row in said["rows"]}


@pytest.mark.story
def test_a_short_run_has_figures_of_both_sides() -> None:
    need_programs("nginx", "wrk", "taskset")
    rows = _bench("serve", "--case=64k", "--pairs=1", "--seconds=1")
    row = rows["64k"]
    assert isinstance(row, dict)
    assert row["ours"] > 100 and row["peer"] > 100 and row["peer_name"] == "nginx"
    assert row["ratio"] == pytest.approx(row["ours"] / row["peer"], rel=0.01)
    assert 0 < row["notes"]["ours"]["p50_ms"] <= row["notes"]["ours"]["p99_ms"]
    assert row["notes"]["the peer with"] in WAYS
    assert row["notes"]["ours"]["cpu_s_per_gb"] > 0 and row["notes"]["peer"]["cpu_s_per_gb"] > 0


@pytest.mark.story
async def test_a_herd_costs_the_store_one_request_and_all_get_it_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_programs("nginx", "wrk", "taskset")
    monkeypatch.setattr("lab.fill._HERD_CLIENTS", 100)
    monkeypatch.setattr("lab.fill._WARM_BYTES_PER_S", 0)  # no figure is taken
    rows = await bench_fill("nginx", ["herd"], Effort(1, 1), lambda case: None)
    found = {row.case: row for row in rows}
    assert found["herd-upstream"].ours == 1
    assert found["herd-right"].ours == found["herd-right"].peer == 100


@pytest.mark.story
async def test_wrong_bytes_are_not_measured_and_forged_tokens_are_refused() -> None:
    need_programs("nginx", "taskset")
    async with standing("nginx", Effort(1, 1)) as stand:
        path = f"{RENDITION}/1m-3.m4s"
        right = stand.package.files[path]
        wrong = stand.package.files | {path: right[:-1] + bytes([right[-1] ^ 1])}
        for side in (stand.ours, stand.peer):
            with pytest.raises(Problem, match=path):
                await verify(side, replace(stand.package, files=wrong))

        ending = asyncio.Event()
        asyncio.get_running_loop().call_later(1.0, ending.set)
        requests = forged_requests(stand.ours, stand.paths("1k")[0], 2_000)
        assert len(set(requests)) == 2_000
        tally = await offer(stand.ours.base, requests, 1_000, ending)
        # A busy machine offers less, and reads answers late; more is never offered.
        assert 100 <= tally.offered <= 1_100
        assert tally.refused >= 0.5 * tally.offered


def test_an_unknown_case_is_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nearcast", "bench", "serve", "--case", "65k"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "There is no case '65k'; there are 1k, 64k" in done.stderr


def test_a_missing_program_comes_with_its_remedy() -> None:
    with pytest.raises(Problem, match="sudo apt-get install peerless") as caught:
        installed("no-such-peer", "peerless")
    assert caught.value.code == "missing_program"


async def test_what_is_missing_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(name: str, package: str) -> str:
        raise Problem("missing_program", f"{name}: {package}")

    monkeypatch.setattr("lab.peers.installed", none)
    monkeypatch.setattr("lab.serve.standing", None)  # would be called, and break
    with pytest.raises(Problem, match="nginx: nginx-light"):
        await bench_serve("nginx", [], Effort(), lambda case: None)
