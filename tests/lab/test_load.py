"""What wrk says, and what of it counts."""

import pytest

from lab.load import parse

SAID = (
    """Running 1s test @ http://127.0.1.1:1/
Requests/sec: 5
{"requests": 1000, "bytes": 65536000, "duration_us": 2000000, "list_us": %d, "p50_us": 812,
""".replace("\n{", "\n{").rstrip()
    + (' "p99_us": 4100, "status_errors": 1, "socket_errors": 2}\n')
)


def test_the_last_line_is_read() -> None:
    found = parse(SAID % 0)
    assert (found.requests, found.bytes, found.p50_ms, found.p99_ms) == (1000, 65536000, 0.812, 4.1)
    assert (found.status_errors, found.socket_errors) == (1, 2)


def test_a_list_that_was_done_early_is_timed_by_itself() -> None:
    assert parse(SAID % 0).lasted_s == 2.0
    assert parse(SAID % 500_000).lasted_s == 0.5


def test_a_wrk_that_says_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:9 Connection refused\n")
