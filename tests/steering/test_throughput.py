"""Where the map is wrong: a site that is near, and slow."""

from steering.throughput import LEAST_WORDS, Pace, ThroughputBook

NET, AT_S = "192.0.2.0/24", 1000.0


def heard(book: ThroughputBook, site: str, mbps: float, count: int, at_s: float = AT_S) -> None:
    for _ in range(count):
        book.hear(NET, site, mbps * 1e6, at_s)


def test_a_site_is_slow_when_another_is_much_faster_by_many_words() -> None:
    book = ThroughputBook()
    heard(book, "near", 4, 20)
    assert book.slow(NET, AT_S) == {}  # nothing to compare with
    heard(book, "far", 20, LEAST_WORDS - 1)
    assert book.slow(NET, AT_S) == {}
    heard(book, "far", 20, 1)
    assert book.slow(NET, AT_S) == {"near": "far"}
    assert book.slow("198.51.100.0/24", AT_S) == {}


def test_between_the_margins_nothing_changes() -> None:
    book = ThroughputBook()
    heard(book, "far", 10, 20)
    heard(book, "near", 6, 20)  # more than half
    assert book.slow(NET, AT_S) == {}
    heard(book, "near", 4, 40)
    assert book.slow(NET, AT_S) == {"near": "far"}
    heard(book, "near", 7, 40)  # less than four fifths
    assert book.slow(NET, AT_S) == {"near": "far"}
    heard(book, "near", 9, 40)
    assert book.slow(NET, AT_S) == {}


def test_after_a_while_without_words_a_site_is_tried_again() -> None:
    book = ThroughputBook()
    heard(book, "near", 1, 20)
    heard(book, "far", 10, 20)
    heard(book, "far", 10, 20, AT_S + 500)
    assert book.slow(NET, AT_S + 500) == {"near": "far"}
    assert book.slow(NET, AT_S + 700) == {}


def test_other_instances_words_count() -> None:
    one, two = ThroughputBook(), ThroughputBook()
    heard(one, "near", 1, 20)
    heard(two, "far", 10, 20)
    assert one.slow(NET, AT_S) == two.slow(NET, AT_S) == {}
    one.hear_all("two", two.words(AT_S), AT_S)
    assert one.slow(NET, AT_S) == {"near": "far"}
    one.hear_all("two", [Pace(NET, "far", 1e6, 30, AT_S)], AT_S)
    assert one.slow(NET, AT_S) == {}


def test_only_the_networks_heard_last_are_kept() -> None:
    book = ThroughputBook()
    for number in range(20_010):
        book.hear(f"net-{number}", "near", 1e6, AT_S)
    assert len(book.words(AT_S)) == 20_000


def test_faster_than_a_viewer_can_use_is_no_better() -> None:
    book = ThroughputBook(enough_bps=20_000_000)
    heard(book, "north", 30, LEAST_WORDS)
    heard(book, "west", 900, LEAST_WORDS)
    assert book.slow(NET, AT_S) == {}
    heard(book, "south", 9, LEAST_WORDS)
    assert set(book.slow(NET, AT_S)) == {"south"}
