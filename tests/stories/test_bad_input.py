"""Bad input: each a clear sentence, a right status, and nothing left behind."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.running import NEARCAST, Running, make_clip
from tests.stories.test_fleet import eventually


def playlist(path: Path) -> None:
    secret = path.parent / "secret.mp4"
    make_clip(secret, frames=24, size="320x180")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")


def concat(path: Path) -> None:
    secret = path.parent / "sibling.mp4"
    make_clip(secret, frames=24, size="320x180")
    path.write_text(f"ffconcat version 1.0\nfile '{secret}'\n")


def cut_off(path: Path) -> None:
    whole = make_clip(path.parent / "whole.mp4", frames=96, size="320x180").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


FILMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a video": (lambda p: p.write_bytes(os.urandom(50_000)), "not_a_video"),
    "a text": (lambda p: p.write_text("Once upon a time\n" * 99), "not_a_video"),
    "cut off": (cut_off, "truncated_file"),
    "a playlist": (playlist, "forbidden_format"),
    "a concat script": (concat, "forbidden_format"),
}


@pytest.mark.parametrize("kind", FILMS)
def test_films_that_are_none(cluster: Running, film: object, kind: str, tmp_path: Path) -> None:
    make, code = FILMS[kind]
    path = tmp_path / "film.mp4"
    make(path)
    packages, masters = stored(cluster, "titles"), stored(cluster, "masters")
    answer = cluster.nearcast("upload", str(path), "--title", f"Bad {kind}", "--wait", check=False)
    assert (answer["code"], answer["exit_code"]) == (code, 1)
    assert answer["detail"].endswith(".") and "Traceback" not in answer["detail"]
    shown = cluster.nearcast("title", "show", f"Bad {kind}", check=False)
    assert shown["code"] == "unknown_title"
    eventually(lambda: stored(cluster, "masters") == masters)
    assert stored(cluster, "titles") == packages and stored(cluster, "work") == []


def test_a_film_that_is_none_is_not_waited_for(
    cluster: Running, film: object, tmp_path: Path
) -> None:
    """Its master goes all the same, and the catalog says why there is no film."""
    path = tmp_path / "film.mp4"
    path.write_text("Once upon a time\n" * 99)
    masters = stored(cluster, "masters")
    cluster.nearcast("upload", str(path), "--title", "Not waited for")

    def encode() -> Any:
        return cluster.nearcast("title", "show", "Not waited for")["encode"]

    eventually(lambda: encode()["state"] == "refused")
    assert encode()["code"] == "not_a_video" and encode()["why"].endswith(".")
    eventually(lambda: stored(cluster, "masters") == masters)
    cluster.nearcast("title", "delete", "Not waited for")


def test_an_empty_and_a_missing_file(cluster: Running, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for path, code in [("empty.mp4", "empty_file"), ("none.mp4", None)]:
        answer = cluster.nearcast("upload", str(tmp_path / path), "--title", "Empty", check=False)
        assert answer["exit_code"] == 1 and (code is None or answer["code"] == code)
        assert path in answer["detail"] or code == "empty_file"
    assert cluster.nearcast("title", "show", "Empty", check=False)["code"] == "unknown_title"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["play", "No such film", "--region", "north", "--player", "url"], "unknown_title"),
        (["steer", "No such film", "--region", "north"], "unknown_title"),
        (["play", "Twelve", "--region", "atlantis", "--player", "url"], "unknown_region"),
        (["steer", "Twelve", "--region", "atlantis"], "unknown_region"),
        (["title", "publish", "No such film"], "unknown_title"),
        (["fleet", "drain", "nobody"], "unknown_appliance"),
    ],
)
def test_names_that_nothing_has(
    cluster: Running, film: object, arguments: list[str], code: str
) -> None:
    answer = cluster.nearcast(*arguments, check=False)
    assert (answer["code"], answer["exit_code"]) == (code, 1)
    said = cluster.run(*arguments)
    assert said.returncode == 1 and said.stdout == "" and "Traceback" not in said.stderr
    assert said.stderr.startswith("error: ")


def test_a_wrong_password(cluster: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARCAST_USER", "admin")
    monkeypatch.setenv("NEARCAST_PASSWORD", "not the password")
    answer = cluster.nearcast("titles", check=False)
    assert (answer["code"], answer["status"], answer["exit_code"]) == ("wrong_credentials", 401, 1)


def test_a_session_address_with_another_key(cluster: Running, film: object) -> None:
    session = cluster.nearcast("play", "Twelve", "--region", "north", "--player", "url")
    url = str(session["hls_url"])
    head, key, name = url.rsplit("/", 2)
    for bad in (f"{head}/{key[:-1]}{'a' if key[-1] != 'a' else 'b'}/{name}", f"{head}/x/{name}"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bad, timeout=5)
        assert refused.value.code in (403, 404)


def test_the_same_ports_and_the_same_folder(cluster: Running) -> None:
    port = cluster.urls["control_plane"].rpartition(":")[2]
    other = cluster.data.parent / "other"
    config = cluster.data.parent / "taken.toml"
    config.write_text(f"[nearcast]\ncontrol_port = {port}\n")
    for arguments, sentence in [
        ([f"--data={other}", f"--config={config}"], f"127.0.0.1:{port} is in use."),
        ([f"--data={cluster.data}"], f"Another nearcast uses {cluster.data}."),
    ]:
        done = subprocess.run(
            [*NEARCAST, "up", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1 and sentence in done.stderr.replace("\n", "")
    assert not (other / "run.json").exists()


def test_no_cluster(tmp_path: Path) -> None:
    done = subprocess.run(
        [*NEARCAST, "titles", f"--data={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "nearcast up" in done.stderr


@pytest.mark.parametrize("arguments", [["frobnicate"], ["up", "--appliances", "0"], ["encode"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    done = subprocess.run([*NEARCAST, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr


def test_steering_away_and_back(cluster: Running, film: dict[str, Any]) -> None:
    """New sessions start by the last copy of what it knew; a running one goes on."""
    session = cluster.nearcast("play", "Twelve", "--region", "north", "--player", "url")
    pid = cluster.pid_of("steering")
    os.kill(pid, signal.SIGSTOP)
    try:
        other = cluster.nearcast("play", "Twelve", "--region", "north", "--player", "url")
        assert other["pathways"][0]["site"] == "north"
        assert len(other["pathways"]) >= 2
        answer = cluster.nearcast("fleet", "list", check=False)
        assert (answer["code"], answer["status"]) == ("steering_unavailable", 503)
        with urllib.request.urlopen(other["hls_url"], timeout=5) as manifest:
            assert b"CONTENT-STEERING" not in manifest.read()
        url = session["pathways"][0]["url"] + session["base_path"] + "inventory.json"
        with urllib.request.urlopen(url, timeout=5) as running:
            assert running.status == 200
        with urllib.request.urlopen(session["hls_url"], timeout=5) as manifest:
            assert manifest.status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(
        lambda: (
            "session_id"
            in cluster.nearcast(
                "play", "Twelve", "--region", "north", "--player", "url", check=False
            )
        )
    )


def test_the_store_away(cluster: Running, film: object, tmp_path: Path) -> None:
    """An upload finds the store gone: one sentence, and no title half made."""
    store = cluster.data / "store"
    hidden = cluster.data / "store.away"
    store.rename(hidden)
    store.write_text("a file where the folder was: nothing can be put there")
    clip = make_clip(tmp_path / "clip.mp4", frames=24, size="320x180")
    try:
        answer = cluster.nearcast("upload", str(clip), "--title", "Nowhere", check=False)
        assert (answer["code"], answer["exit_code"]) == ("store_unavailable", 1)
    finally:
        store.unlink()
        hidden.rename(store)
    shown = cluster.nearcast("title", "show", "Nowhere", check=False)
    assert shown.get("code") == "unknown_title" or shown["package_id"] is None


def stored(cluster: Running, prefix: str) -> list[str]:
    """Keys of the store below a prefix, hidden ones included."""
    top = cluster.data / "store" / prefix
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())
