"""Limits of log-in attempts: by account, by address, by both; none that locks the owner out."""

import asyncio

import pytest

from control_plane.attempts import (
    ACCOUNT_WINDOW_S,
    PER_ACCOUNT,
    PER_ADDRESS,
    WINDOW_S,
    Attempts,
    network_of,
)
from runtime.errors import Problem
from runtime.state import MemoryState

MOST = 4


class Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def attempts(time: Time) -> Attempts:
    return Attempts(MemoryState(time), MOST)


async def tried(attempts: Attempts, name: str, address: str) -> bool:
    try:
        await attempts.begin(name, address)
    except Problem as problem:
        assert problem.code == "too_many_attempts"
        return False
    return True


async def test_one_name_from_one_address(attempts: Attempts, time: Time):
    got = await asyncio.gather(*(tried(attempts, "anna", "192.0.2.1") for _ in range(MOST + 3)))
    assert sum(got) == MOST
    assert await tried(attempts, "bo", "192.0.2.1")
    assert await tried(attempts, "anna", "192.0.2.2")
    time.now_s += WINDOW_S + 1
    assert await tried(attempts, "anna", "192.0.2.1")


async def test_many_names_from_one_address(attempts: Attempts):
    """A list of leaked passwords, each tried once."""
    got = [await tried(attempts, f"user-{n}", "192.0.2.1") for n in range(MOST * PER_ADDRESS + 5)]
    assert sum(got) == MOST * PER_ADDRESS
    assert await tried(attempts, "user-1", "192.0.2.2")


async def test_one_name_from_many_addresses(attempts: Attempts, time: Time):
    """A botnet. The owner's own address is spared, for it was right there before."""
    await attempts.begin("anna", "203.0.113.5")
    await attempts.succeed("anna", "203.0.113.5")
    got = [await tried(attempts, "anna", f"198.51.100.{n}") for n in range(MOST * PER_ACCOUNT + 5)]
    assert sum(got) == MOST * PER_ACCOUNT
    assert await tried(attempts, "anna", "203.0.113.5")
    time.now_s += ACCOUNT_WINDOW_S + 1
    assert await tried(attempts, "anna", "198.51.100.250")


async def test_what_one_limit_refuses_counts_for_no_other(attempts: Attempts):
    """One address alone cannot use up what an account has from everywhere."""
    for _ in range(MOST * PER_ACCOUNT * 2):
        await tried(attempts, "anna", "192.0.2.1")
    assert await tried(attempts, "anna", "192.0.2.2")


async def test_those_who_know_the_password_use_nothing_up(attempts: Attempts):
    for _ in range(MOST * PER_ADDRESS * 2):
        await attempts.begin("anna", "192.0.2.1")
        await attempts.succeed("anna", "192.0.2.1")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_client_has_a_whole_network(address: str, network: str):
    assert network_of(address) == network
