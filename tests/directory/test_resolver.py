"""The name of a server, and a name server that does not answer."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
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
def silence() -> Iterator[socket.socket]:
    """The only name server takes questions and says nothing; it would take the resolver a minute to give up."""
    settings = Path("/etc/resolv.conf")
    before = settings.read_text()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((SILENT, 53))
        settings.write_text(f"nameserver {SILENT}\noptions timeout:30 attempts:2\n")
        yield listener
        settings.write_text(before)


def looked_up(resolver: Resolver, name: str, seconds: float) -> tuple[str, float]:
    """The first address, or the error; and how long it took."""
    started = time.monotonic()
    try:
        answer = str(resolver.addresses(name, 636, Deadline.after(CLOCK, seconds))[0][4][0])
    except OSError as error:
        answer = str(error)
    return answer, time.monotonic() - started


def test_a_login_does_not_wait_for_it(pair: Two, silence: socket.socket) -> None:
    directory = pair.directory(f"ldaps://{NAME}")
    label, seconds = asked(directory)
    assert label == "second"
    assert seconds < 1.5, "half of the time is for the second"
    label, seconds = asked(directory)
    assert (label, seconds < 0.2) == ("second", True), "now the first is asked last"


def test_an_address_needs_none(silence: socket.socket) -> None:
    for address in ("127.0.0.1", "::1"):
        answer, seconds = looked_up(Resolver(), address, 2)
        assert (answer, seconds < 0.2) == (address, True)


def test_the_last_answer_stands_in(silence: socket.socket) -> None:
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


def test_many_wait_for_one_question(silence: socket.socket) -> None:
    before, resolver = threading.active_count(), Resolver()
    for _ in range(5):
        answer, seconds = looked_up(resolver, NAME, 0.1)
        assert answer == f"{NAME} could not be looked up: no answer in time"
        assert seconds < 0.5
    assert threading.active_count() <= before + 1


def test_what_comes_late_is_for_those_who_come_then(silence: socket.socket) -> None:
    """A name server that takes longer than a login waits."""
    resolver = Resolver()
    assert "no answer in time" in looked_up(resolver, NAME, 0.2)[0]
    answer_questions(silence, 1)
    until = time.monotonic() + 10
    while looked_up(resolver, NAME, 0.2)[0] != "192.0.2.1":
        assert time.monotonic() < until
        answer_questions(silence, 0.2)
    answer, seconds = looked_up(resolver, NAME, 1)
    assert (answer, seconds < 0.5) == ("192.0.2.1", True), "it is known from then on, though nobody answers again"


def answer_questions(listener: socket.socket, seconds: float) -> None:
    """Answer what has been asked (RFC 1035 section 4.1), and what is asked in the next seconds: 192.0.2.1."""
    listener.settimeout(seconds)
    with suppress(TimeoutError):
        while True:
            question, whence = listener.recvfrom(512)
            name_and_class = question[12 : question.index(b"\0", 12) + 5]
            is_a = name_and_class[-3:-2] == b"\x01"
            record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01" if is_a else b""
            counts = b"\0\x01" + bytes([0, is_a]) + b"\0\0\0\0"
            listener.sendto(question[:2] + b"\x81\x80" + counts + name_and_class + record, whence)


@pytest.mark.parametrize("name", [f"{'a' * 64}.example", "a..b", "no-such-host.invalid"])
def test_what_is_no_name(name: str) -> None:
    assert "could not be looked up" in looked_up(Resolver(), name, 10)[0]
