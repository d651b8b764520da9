"""The name of a server, and a name server that does not answer."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otpd.adapters.resolver import Resolver
from otpd.clock import Deadline, SystemClock

from .conftest import Two
from .test_connections import asked

NAME = "ldap1.example.org"
SILENT = "127.99.0.1"
CLOCK = SystemClock()


@pytest.fixture
def silence() -> Iterator[None]:
    """The only name server takes questions and says nothing; it would take the resolver a minute to give up."""
    settings = Path("/etc/resolv.conf")
    before = settings.read_text()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((SILENT, 53))
        settings.write_text(f"nameserver {SILENT}\noptions timeout:30 attempts:2\n")
        yield
        settings.write_text(before)


def looked_up(resolver: Resolver, name: str, seconds: float) -> tuple[str, float]:
    """The first address, or the error; and how long it took."""
    started = time.monotonic()
    try:
        answer = str(resolver.addresses(name, 636, Deadline.after(CLOCK, seconds))[0][4][0])
    except OSError as error:
        answer = str(error)
    return answer, time.monotonic() - started


def test_a_login_does_not_wait_for_it(pair: Two, silence: None) -> None:
    directory = pair.directory(f"ldaps://{NAME}")
    label, seconds = asked(directory)
    assert label == "second"
    assert seconds < 1.5, "half of the time is for the second"
    label, seconds = asked(directory)
    assert (label, seconds < 0.2) == ("second", True), "now the first is asked last"


def test_an_address_needs_none(silence: None) -> None:
    for address in ("127.0.0.1", "::1"):
        answer, seconds = looked_up(Resolver(), address, 2)
        assert (answer, seconds < 0.2) == (address, True)


def test_the_last_answer_stands_in(silence: None) -> None:
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    resolver = Resolver()
    hosts.write_text(f"{before}\n192.0.2.1 {NAME}\n")
    try:
        assert looked_up(resolver, NAME, 2)[0] == "192.0.2.1"
    finally:
        hosts.write_text(before)
    answer, seconds = looked_up(resolver, NAME, 2)
    assert answer == "192.0.2.1"
    assert seconds < 1, "most of the time is left for the server"


def test_many_wait_for_one_question(silence: None) -> None:
    before, resolver = threading.active_count(), Resolver()
    for _ in range(5):
        answer, seconds = looked_up(resolver, NAME, 0.1)
        assert answer == f"{NAME} could not be looked up: no answer in time"
        assert seconds < 0.5
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize("name", [f"{'a' * 64}.example", "a..b", "no-such-host.invalid"])
def test_what_is_no_name(name: str) -> None:
    assert "could not be looked up" in looked_up(Resolver(), name, 10)[0]
