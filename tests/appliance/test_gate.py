"""What a request may have: a table of requests and decisions, without I/O."""

import base64
import time
from pathlib import Path

import cbor2
import pytest

from appliance import gate
from appliance.gate import FileWant, Gate, Learn, Preflight, Reject, Serve, releasable
from media.fleet import Notices, Purge
from media.ids import id_from
from media.keys import Identity, Keyring
from tests.packages import MadePackage, make_keys, make_package

NOW = time.time()
ADDRESS = "127.0.0.1"


class Door:
    """A gate with a package that it has learnt, and a way to ask it."""

    def __init__(self, folder: Path) -> None:
        self.keys = make_keys(folder, "north-1")
        self.package = make_package(folder / "store", renditions=("v-avc-720", "v-avc-360"))
        self.gate = Gate(Keyring([identity.public for identity in self.keys.values()]))
        self.token = self.package.token(self.keys["control"])

    def ask(self, path: str, *, token: str | None = None, method: bytes = b"GET") -> object:
        target = f"/{token or self.token}/{self.package.base}{path}"
        return self.gate.decide(method, target.encode(), ADDRESS, NOW)

    def learn(self, want: FileWant) -> None:
        self.gate.learn(want, self.package.files[want.path])

    def learn_all(self) -> None:
        for path in ("v-avc-720/1.m4s", "v-avc-360/1.m4s"):
            while isinstance(asked := self.ask(path), Learn):
                self.learn(asked.want)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_it_learns_the_inventory_then_the_list_then_serves(door: Door) -> None:
    first = door.ask("v-avc-720/1.m4s")
    assert isinstance(first, Learn) and first.want.path == "inventory.json"
    assert first.want.size is None
    door.learn(first.want)
    second = door.ask("v-avc-720/1.m4s")
    assert isinstance(second, Learn) and second.want.path == "v-avc-720/files.json"
    door.learn(second.want)
    served = door.ask("v-avc-720/1.m4s")
    assert isinstance(served, Serve) and served.listed.want.size == 100_000
    assert served.listed.want.object_key == f"{door.package.base}v-avc-720/1.m4s"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("v-avc-720/99.m4s", "not_in_package"),
        ("v-avc-720/../inventory.json", "not_in_package"),
        ("..%2f..%2fsecrets/control.key", "not_in_package"),
        ("%2e%2e/inventory.json", "not_in_package"),
        ("v-avc-720//1.m4s", "not_in_package"),
        ("v-avc-720/1.m4s%00", "not_in_package"),
        ("", "not_in_package"),
        ("v-avc-999/1.m4s", "not_in_package"),
    ],
)
def test_paths_that_the_inventory_does_not_list(door: Door, path: str, code: str) -> None:
    door.learn_all()
    answer = door.ask(path)
    assert isinstance(answer, Reject) and answer.code == code


@pytest.mark.parametrize("target", [b"/", b"*", b"http://x/a", b"/x/titles/a/b", b"/a/b/c/d/e/f/g"])
def test_other_addresses_are_not_found(door: Door, target: bytes) -> None:
    assert door.gate.decide(b"GET", target, ADDRESS, NOW) == Reject("not_found")


def test_methods(door: Door) -> None:
    assert door.ask("inventory.json", method=b"POST") == Reject("method_not_allowed")
    assert isinstance(door.ask("inventory.json", method=b"OPTIONS"), Preflight)
    assert isinstance(door.ask("inventory.json", method=b"HEAD"), Learn)


def test_tokens(door: Door, tmp_path: Path) -> None:
    stranger = Identity.open("control", "control", tmp_path / "other" / "control.key")
    control, appliance = door.keys["control"], door.keys["north-1"]
    old = int(NOW) - 120
    table = {
        door.package.token(stranger): "token_invalid",  # the right name, another key
        door.package.token(appliance): "token_invalid",  # appliances may not sign for playback
        door.package.token(control, scope="fill"): "token_invalid",  # nor the control plane fills
        door.package.token(control, expires_s=old): "token_expired",
        door.token[:-4] + "AAAA": "token_invalid",
        "x": "token_invalid",
        "\xff": "bad_request",
    }
    for token, code in table.items():
        answer = door.gate.decide(
            b"GET", f"/{token}/{door.package.base}inventory.json".encode("latin-1"), token[:40], NOW
        )
        assert isinstance(answer, Reject) and answer.code == code, token


def test_forgers_wait_and_others_do_not(door: Door) -> None:
    door.learn_all()
    assert isinstance(door.ask("v-avc-720/1.m4s"), Serve)
    forged = [f"{door.token[:-6]}{number:06d}" for number in range(200)]
    answers = [door.ask("x", token=token) for token in forged]
    assert answers == [Reject("token_invalid")] * 5 + [Reject("overloaded", retry_s=1)] * 195
    assert isinstance(door.ask("v-avc-720/1.m4s"), Serve)  # a token that was seen before
    fresh = door.package.token(door.keys["control"])
    target = f"/{fresh}/{door.package.base}v-avc-720/1.m4s".encode()
    assert isinstance(door.gate.decide(b"GET", target, "another", NOW), Serve)


def test_the_short_way_says_what_the_long_way_says(door: Door) -> None:
    """A file and a token that were seen before meet the same rules."""
    narrow = door.package.token(door.keys["control"], renditions=("v-avc-360",))
    door.learn_all()
    for _ in range(2):
        assert isinstance(door.ask("v-avc-720/1.m4s"), Serve)
        assert isinstance(door.ask("v-avc-720/1.m4s?CMCD=br%3D1/x"), Serve)
        refused = door.ask("v-avc-720/1.m4s", token=narrow)
        assert isinstance(refused, Reject) and refused.code == "not_allowed"
        assert isinstance(door.ask("v-avc-360/1.m4s", token=narrow), Serve)
        assert isinstance(door.ask("hls/master.m3u8", token=narrow), Serve)
        assert isinstance(door.ask("v-avc-720/1.m4s", method=b"POST"), Reject)
        assert isinstance(door.ask("v-avc-720/1.m4s", method=b"OPTIONS"), Preflight)


def test_prepared_answers_are_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_PREPARED", 2)
    door.learn_all()
    for path in ("v-avc-720/1.m4s", "v-avc-720/2.m4s", "v-avc-720/3.m4s", "v-avc-720/1.m4s"):
        served = door.ask(path)
        assert isinstance(served, Serve) and served.listed.want.path == path
        assert len(served.grant.listed) <= 2


def test_a_token_within_the_leeway_still_opens(door: Door) -> None:
    token = door.package.token(door.keys["control"], expires_s=int(NOW) - 30)
    assert isinstance(door.ask("inventory.json", token=token), Learn)


def test_a_remembered_token_expires(door: Door) -> None:
    token = door.package.token(door.keys["control"], expires_s=int(NOW) + 5)
    target = f"/{token}/{door.package.base}inventory.json".encode()
    assert isinstance(door.gate.decide(b"GET", target, ADDRESS, NOW), Learn)
    late = door.gate.decide(b"GET", target, ADDRESS, NOW + 120)
    assert isinstance(late, Reject) and late.code == "token_expired"


def test_a_token_for_another_package_is_foreign(door: Door, tmp_path: Path) -> None:
    other: MadePackage = make_package(tmp_path / "store")
    answer = door.ask("inventory.json", token=other.token(door.keys["control"]))
    assert isinstance(answer, Reject) and answer.code == "token_invalid"


def test_a_token_limits_renditions(door: Door) -> None:
    door.learn_all()
    token = door.package.token(door.keys["control"], renditions=("v-avc-360",))
    assert isinstance(door.ask("v-avc-360/1.m4s", token=token), Serve)
    assert isinstance(door.ask("hls/master.m3u8", token=token), Serve)
    refused = door.ask("v-avc-720/1.m4s", token=token)
    assert isinstance(refused, Reject) and refused.code == "not_allowed"


def test_a_peer_gets_only_what_is_held(door: Door) -> None:
    token = door.package.token(door.keys["north-1"], scope="fill")
    answer = door.ask("inventory.json", token=token)
    assert isinstance(answer, Learn) and answer.grant.from_peer


def test_notices(door: Door) -> None:
    door.learn_all()
    known = door.ask("hls/master.m3u8")
    assert isinstance(known, Serve)
    since_s = time.time() + 1
    door.gate.obey(Notices(version=1, draining=True), since_s)
    assert isinstance(door.ask("hls/master.m3u8"), Serve)  # a running session goes on
    unseen = door.package.token(door.keys["control"])  # by another worker until now
    assert isinstance(door.ask("hls/master.m3u8", token=unseen), Serve)
    late = id_from("ses", int(since_s * 1000) + 1, 0)
    refused = door.ask(
        "hls/master.m3u8", token=door.package.token(door.keys["control"], session_id=late)
    )
    assert isinstance(refused, Reject) and refused.code == "draining"
    door.gate.obey(Notices(version=2, revoked_sessions=(known.grant.claims.session_id,)), since_s)
    revoked = door.ask("hls/master.m3u8")
    assert isinstance(revoked, Reject) and revoked.code == "token_invalid"
    tomb = Purge(package_id=door.package.package_id, until="2100-01-01T00:00:00Z")  # type: ignore[arg-type]
    door.gate.obey(Notices(version=3, purges=(tomb,)), since_s)
    purged = door.ask("hls/master.m3u8")
    assert isinstance(purged, Reject) and purged.code == "purged"


def test_lists_that_are_not_the_named_ones_are_refused(door: Door) -> None:
    asked = door.ask("v-avc-720/1.m4s")
    assert isinstance(asked, Learn)
    with pytest.raises(ValueError, match="digest"):
        door.gate.learn(asked.want, door.package.files["inventory.json"] + b" ")
    assert isinstance(door.ask("v-avc-720/1.m4s"), Learn)


@pytest.mark.parametrize(
    ("size", "landed", "held", "may_leave"),
    [
        (1000, 1000, False, 0),
        (262_144, 262_144, False, 0),
        (262_144, 262_144, True, 262_144),
        (1_000_000, 500_000, False, 500_000),
        (1_000_000, 1_000_000, False, 1_000_000 - 65_536),
        (1_000_000, 1_000_000, True, 1_000_000),
    ],
)
def test_what_may_leave_before_it_is_verified(
    size: int, landed: int, held: bool, may_leave: int
) -> None:
    assert releasable(size, landed, held) == may_leave


def test_learning_twice_counts_once(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many wait for one inventory, and each brings it: the gate must not think that it is full."""
    other: MadePackage = make_package(tmp_path / "store")
    monkeypatch.setattr(gate, "MAX_LISTED_FILES", 30)
    first = door.ask("v-avc-720/1.m4s")
    assert isinstance(first, Learn)
    for _ in range(10):
        door.learn(first.want)
    door.learn_all()
    asked = door.gate.decide(
        b"GET",
        f"/{other.token(door.keys['control'])}/{other.base}inventory.json".encode(),
        ADDRESS,
        NOW,
    )
    assert isinstance(asked, Learn)
    door.gate.learn(asked.want, other.files["inventory.json"])
    assert isinstance(door.ask("v-avc-720/1.m4s"), Serve)


def test_a_list_of_a_package_forgotten_meanwhile(door: Door) -> None:
    inventory = door.ask("v-avc-720/1.m4s")
    assert isinstance(inventory, Learn)
    door.learn(inventory.want)
    listing = door.ask("v-avc-720/1.m4s")
    assert isinstance(listing, Learn)
    door.gate = Gate(Keyring([identity.public for identity in door.keys.values()]))
    door.learn(listing.want)  # nobody knows what it belongs to
    again = door.ask("v-avc-720/1.m4s")
    assert isinstance(again, Learn) and again.want.path == "inventory.json"


def test_no_token_breaks_the_gate(door: Door) -> None:
    """Tagged numbers whose decoding overflows (RFC 8949 3.4.4), where a signature is expected."""
    for tag, exponent in ((5, 10**9), (4, 10**18)):
        raw = cbor2.dumps(cbor2.CBORTag(tag, [exponent, 3]))
        token = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        assert door.ask("inventory.json", token=token) == Reject("token_invalid")
