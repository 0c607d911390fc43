"""What `nearcast bench play` makes of what its players saw."""

from collections import Counter

from lab.bench import failed
from lab.play import Seen, rows_of
from lab.player import Played


def _one(region: str, **given: object) -> Played:
    played = Played(
        region,
        startup_s=0.4,
        position_s=20.0,
        requests=50,
        bytes_from=Counter({f"{region}-1": 1000}),
        rungs_s={500_000: 10.0, 1_000_000: 10.0},
        top_bps=1_000_000,
    )
    for name, value in given.items():
        setattr(played, name, value)
    return played


def test_who_is_served_well() -> None:
    played = [_one(region) for region in ("north", "south", "west")]
    rows = {row.case: row for row in rows_of(Seen(played, 2.0, 0.6, 10.0, 0))}
    assert failed(list(rows.values())) == []
    told = {name: row.ours for name, row in rows.items()}
    assert told["players"] == 3 and told["requests"] == 15
    assert told["startup-p50"] == told["startup-p99"] == 200  # ms of ours: its clock ran twice
    assert told["bitrate"] == 750 and told["bitrate-top"] == 0.75
    assert told["site-spread"] == told["own-site"] == 1.0
    assert told["player-cost"] == 10  # ms for each of 60 s that were played
    assert rows["player-cost"].notes["players_per_core"] == 100
    assert rows["bitrate"].notes["seconds_by_kbps"] == {"500": 30, "1000": 30}


def test_who_is_let_down_is_found() -> None:
    played = [_one("north") for _ in range(3)]
    played[0].error = "TimeoutError: no pathway gave x"
    played[1].stalls_s = [0.5, 0.2]
    played[2].wrong_bytes, played[2].failed_requests = 7, 1
    rows = {row.case: row for row in rows_of(Seen(played, 1.0, 0.6, 10.0, 99))}
    bad = ["failed", "rebuffer", "errors", "wrong-bytes", "store-bytes"]
    assert failed(list(rows.values())) == bad
    assert rows["failed"].notes["errors"] == {"TimeoutError": 1}
    assert rows["rebuffer"].notes == {"stalls": 2, "players": 1, "longest_s": 0.5}
    assert rows["site-spread"].ours == 3.0  # all from one of three
