"""How sessions play, from notes to sums."""

import json
from types import SimpleNamespace

from appliance.link import MAX_LINE_BYTES
from appliance.quality import MAX_NOTE_BYTES, MAX_NOTES, Heard, Notes, QualityBook, read
from media import cmcd
from media.cmcd import Cmcd
from media.fleet import MAX_STARVED, Quality, StarvedSession
from media.ids import id_from

P = id_from("pkg", 1_700_000_000_000, 1)


def session(number: int) -> str:
    return id_from("ses", 1_700_000_000_000, number)


def note(notes: Notes, number: int, raw: bytes) -> None:
    """The session's player said this with its third segment."""
    grant = SimpleNamespace(claims=SimpleNamespace(session_id=session(number)))
    listed = SimpleNamespace(key=f"{P}/v-avc-720/3.m4s")
    notes.add(grant, listed, raw)  # type: ignore[arg-type]


def hear(book: QualityBook, number: int, now_s: float, **said: object) -> None:
    book.hear(Heard(session(number), P, "v-avc-720/1.m4s", Cmcd(**said)), now_s)  # type: ignore[arg-type]


def test_notes_travel_as_json_and_are_read() -> None:
    notes = Notes()
    note(notes, 1, cmcd.raw(b"CMCD=br%3D3200%2Cnor%3D%224.m4s%22", {}))
    note(notes, 1, cmcd.raw(b"", {b"cmcd-object": b'ot=a,cid="\xff"'}))
    note(notes, 2, b"nothing%20known")
    (part,) = notes.take()
    heard = read(json.loads(json.dumps(part)))
    assert [(one.session_id, one.package_id, one.path) for one in heard] == [
        (session(1), P, "v-avc-720/3.m4s")
    ] * 2
    assert heard[0].said.bitrate_kbps == 3200
    assert heard[0].said.next_paths == ("4.m4s",)
    assert heard[1].said.object_type == "a"
    assert notes.take() == []


def test_notes_are_bounded_and_fit_their_lines() -> None:
    notes = Notes()
    for _ in range(MAX_NOTES + 7):
        note(notes, 1, b"br%3D1")
    assert notes.lost == 7
    assert sum(len(part) for part in notes.take()) == MAX_NOTES
    worst = b"\xff" * 3 * cmcd.MAX_BYTES  # six characters of JSON a byte
    for _ in range(MAX_NOTES):
        note(notes, 1, worst)
    parts = notes.take()
    assert sum(len(part) for part in parts) == MAX_NOTE_BYTES // len(worst)
    assert all(len(json.dumps({"players": part})) < MAX_LINE_BYTES * 7 / 8 for part in parts)
    note(notes, 1, b"br%3D1")  # there is room again
    assert len(notes.take()) == 1


def test_a_session_as_its_player_tells_it() -> None:
    book = QualityBook()
    hear(book, 1, 100.0, object_type="m", startup=True, streaming_format="h")
    hear(book, 1, 100.5, object_type="i", startup=True)
    hear(book, 1, 101.0, object_type="v", startup=True, bitrate_kbps=800, throughput_kbps=5000)
    hear(book, 1, 101.2, object_type="v", bitrate_kbps=3000, buffer_ms=4000, wanted_kbps=9000)
    hear(book, 1, 105.0, object_type="a", bitrate_kbps=128, buffer_ms=8000, starved=True)
    (told,) = book.sessions(10)
    assert (told.session_id, told.package_id, told.requests) == (session(1), P, 5)
    assert (told.began_s, told.heard_s, told.startup_ms) == (100.0, 105.0, 1200)
    assert (told.bitrate_kbps, told.throughput_kbps, told.wanted_kbps) == (3000, 5000, 9000)
    assert (told.buffer_ms, told.starved, told.streaming_format) == (8000, 1, "h")
    assert told.object_types == {"m": 1, "i": 1, "v": 2, "a": 1}


def test_sums_over_all_sessions() -> None:
    book = QualityBook()
    hear(book, 1, 1.0, startup_ms=900, buffer_ms=3000, starved=True)
    hear(book, 1, 2.0, startup_ms=900, buffer_ms=5000, starved=True)
    hear(book, 2, 3.0, throughput_kbps=700)
    hear(book, 3, 3.0, starved=True)
    assert book.totals == Quality(
        sessions=3, requests=4, starved_requests=3, starved_sessions=2, startups=1, startup_ms=900,
        buffers=2, buffer_ms=8000, throughputs=1, throughput_kbps=700,
    )  # fmt: skip


def test_the_session_heard_longest_ago_is_forgotten_and_its_part_of_the_sums_is_not() -> None:
    book = QualityBook(most=2)
    for number in (1, 2, 1, 3):
        hear(book, number, float(number), starved=True)
    assert [one.session_id for one in book.sessions(10)] == [session(3), session(1)]
    assert [one.session_id for one in book.sessions(1)] == [session(3)]
    assert len(book) == 2
    assert book.totals.sessions == 3 and book.totals.starved_requests == 4


def test_the_most_starved_of_those_that_still_play() -> None:
    book = QualityBook()
    for number, starved in ((1, 1), (2, 9), (3, 4), (4, 0), (5, 2), (6, 3)):
        for turn in range(10):
            hear(book, number, 1000.0 if number != 2 else 10.0, starved=turn < starved)
    worst = book.most_starved(1100.0)
    assert len(worst) == MAX_STARVED
    assert worst[0] == StarvedSession(session_id=session(3), starved=4, requests=10)
    assert [one.session_id for one in worst] == [session(3), session(6), session(5)]
    assert book.most_starved(2000.0) == ()


def test_object_types_that_nobody_knows_are_others() -> None:
    book = QualityBook()
    for number in range(100):
        hear(book, 1, 1.0, object_type=f"x{number}")
    assert book.sessions(1)[0].object_types == {"o": 100}
