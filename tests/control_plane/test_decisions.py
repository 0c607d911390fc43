"""Pure decisions: parts and keys of masters, settings of players."""

import json

import pytest

from control_plane.parts import Span, master_key, part_count, part_size, safe_name, span
from control_plane.players import player_settings
from media.api import MAX_MASTER_BYTES, MAX_PARTS
from media.objects import check_key

MIB = 1024**2


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1, 16 * MIB), (160_000 * MIB, 16 * MIB), (160_001 * MIB, 17 * MIB)],
)
def test_parts_grow_only_where_there_would_be_too_many(total: int, expected: int):
    assert part_size(total, 16 * MIB) == expected


def test_the_largest_master_fits():
    size = part_size(MAX_MASTER_BYTES, 16 * MIB)
    assert part_count(MAX_MASTER_BYTES, size) <= MAX_PARTS


def test_spans_cover_the_file_once():
    total, size = 100, 30
    spans = [span(number, total, size) for number in range(1, part_count(total, size) + 1)]
    assert spans == [Span(1, 0, 30), Span(2, 30, 30), Span(3, 60, 30), Span(4, 90, 10)]
    assert span(0, total, size) is None and span(5, total, size) is None
    assert span(2, 30, 30) is None


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("film.mp4", "film.mp4"),
        ("Mein Film (1).mov", "Mein Film (1).mov"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\film.mkv", "film.mkv"),
        ("..", "master"),
        (".hidden", "hidden"),
        ("Größe.mp4", "Groe.mp4"),
        ("фильм.mp4", "master.mp4"),
        ("映画", "master"),
        ("a\nb\0c.mp4", "a_b_c.mp4"),
        ("x" * 300 + ".webm", "x" * 89 + ".webm"),
        ("no.ending.that-is-so-long", "no.ending.that-is-so-long"),
        ("映画 1.mp4", "1.mp4"),
        ("@.mp4", "master.mp4"),
        ("-rf", "rf"),
        ("a.mp4/", "master"),
    ],
)
def test_file_names_become_keys(filename: str, expected: str):
    name = safe_name(filename)
    assert name == expected
    key = master_key("ttl_x", filename, "upl_0123456789")
    assert check_key(key) == f"masters/ttl_x/{expected}"
    assert check_key(master_key("ttl_x", filename, "upl_0123456789", taken=True)) != key


def test_players_leave_a_dead_appliance_at_once_when_there_is_another():
    settings = player_settings("ses_x", "ttl_x", 2)
    policy = settings["hlsjs"]["fragLoadPolicy"]["default"]
    assert policy["maxTimeToFirstByteMs"] == 2500
    assert policy["timeoutRetry"]["maxNumRetry"] == policy["errorRetry"]["maxNumRetry"] == 0
    assert settings["dashjs"]["streaming"]["retryAttempts"]["MediaSegment"] == 0
    assert settings["shaka"]["streaming"]["retryParameters"]["connectionTimeout"] == 2500


def test_players_try_again_when_there_is_no_other():
    settings = player_settings("ses_x", "ttl_x", 1)
    assert settings["hlsjs"]["fragLoadPolicy"]["default"]["errorRetry"]["maxNumRetry"] == 3
    assert settings["dashjs"]["streaming"]["retryAttempts"]["MediaSegment"] == 3
    assert settings["shaka"]["streaming"]["retryParameters"]["maxAttempts"] == 4


def test_player_settings_are_plain_json():
    settings = player_settings("ses_x", "ttl_x", 2)
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
