"""Secrets that do not show, the throttle's rule, sealing, tickets."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import throttle
from otpd.errors import ConfigError, SealError, TicketError
from otpd.protocol import Answer, Begin, Done
from otpd.ring_text import new_key_line
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.ticket import Tickets

places = st.tuples(st.text(max_size=10), st.text(max_size=10))


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def ring(*ids: str) -> KeyRing:
    return KeyRing.from_text("".join(new_key_line(key_id) for key_id in ids or ("k1",)), "test")


def test_a_secret_shows_nowhere() -> None:
    secret = Secret(b"hunter2")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr([secret]), repr({"a": secret})]
    messages = [
        Begin(user="a", service="s", authtok=secret),
        Answer(dialogue=b"hunter2", text=secret),
        Done(verdict="accept", authtok=secret),
    ]
    assert not [text for text in shown + [repr(message) for message in messages] if "hunter2" in text]
    for dump in (pickle.dumps, copy.deepcopy, json.dumps, hash):
        with pytest.raises(TypeError):
            dump(secret)
    assert secret == Secret(b"hunter2") != Secret(b"hunter3")


def test_the_first_failures_cost_nothing_and_the_wait_is_bounded() -> None:
    waits = [throttle.wait_seconds(failures) for failures in range(30)]
    assert waits[:5] == [0] * 5
    assert waits[5:9] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert throttle.wait_seconds(10**9) == throttle.MAX_WAIT_SECONDS


@pytest.mark.parametrize(
    ("failures", "since", "allowed"),
    [
        (0, 0, True),
        (4, 0, True),
        (5, 0, False),
        (5, 1, True),
        (20, 899, False),
        (20, 900, True),
        (9, -10, False),
        (9, -1e6, True),
    ],
)
def test_throttle(failures: int, since: float, allowed: bool) -> None:
    assert throttle.allowed(failures, 10_000.0, 10_000.0 + since) is allowed


def test_a_guesser_gets_few_tries_a_day() -> None:
    at, failures, last = 0.0, 0, None
    while at < 86_400:
        if throttle.allowed(failures, last, at):
            failures, last = failures + 1, at
        else:
            at += 1
    assert failures < 120


@given(st.binary(max_size=100), places)
def test_sealed_values_open_at_their_place(plain: bytes, place: tuple[str, str]) -> None:
    keys = ring()
    sealed = keys.seal("seed", place, Secret(plain))
    assert keys.open("seed", place, sealed).reveal() == plain
    assert plain not in sealed or len(plain) < 4


@given(places, places, st.sampled_from(["seed", "other"]))
def test_a_sealed_value_that_was_moved_does_not_open(
    one: tuple[str, str], other: tuple[str, str], purpose: str
) -> None:
    keys = ring()
    if (one, "seed") != (other, purpose):
        with pytest.raises(SealError):
            keys.open(purpose, other, keys.seal("seed", one, Secret(b"x")))


def test_places_are_not_joined() -> None:
    keys = ring()
    with pytest.raises(SealError):
        keys.open("seed", ("ab", "c"), keys.seal("seed", ("a", "bc"), Secret(b"x")))


@given(st.binary(max_size=80))
def test_rubbish_does_not_open(sealed: bytes) -> None:
    with pytest.raises(SealError):
        ring().open("seed", (), sealed)


def test_every_bit_counts() -> None:
    keys = ring()
    sealed = keys.seal("seed", ("a",), Secret(b"some seed"))
    for at in range(3, len(sealed)):
        broken = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SealError):
            keys.open("seed", ("a",), broken)


def test_old_keys_still_open() -> None:
    lines = [new_key_line(key_id) for key_id in ("old", "new")]
    old = KeyRing.from_text(lines[0], "test")
    both = KeyRing.from_text(lines[1] + lines[0], "test")
    assert both.current == "new"
    assert both.open("seed", (), old.seal("seed", (), Secret(b"x"))).reveal() == b"x"
    with pytest.raises(SealError, match="key new, which is not in"):
        old.open("seed", (), both.seal("seed", (), Secret(b"x")))


@pytest.mark.parametrize("text", ["", "# none", "k1", "k1 AAAA", "K! " + "A" * 43 + "=", "k1 " + "A" * 43 + "= more"])
def test_a_bad_key_file_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        KeyRing.from_text(text, "keyring")
    assert "AAAA" not in str(raised.value)


def test_a_key_id_stands_once() -> None:
    line = new_key_line("k1")
    with pytest.raises(ConfigError):
        KeyRing.from_text(line + line, "keyring")


def test_tickets() -> None:
    clock = FakeClock()
    tickets = Tickets(ring(), "boot", clock)
    ticket = tickets.issue("dialogue", 1000, {"user": "\u00e5sa"}, 60)
    state, expires = tickets.redeem("dialogue", 1000, ticket)
    assert (state, expires) == ({"user": "\u00e5sa"}, 1060.0)
    other_boot = Tickets(tickets.keys, "another boot", clock)
    for opener, purpose, uid in (
        (tickets, "dialogue", 1001),
        (tickets, "enrolment", 1000),
        (other_boot, "dialogue", 1000),
    ):
        with pytest.raises(TicketError):
            opener.redeem(purpose, uid, ticket)
    clock.now += 61
    with pytest.raises(TicketError, match="expired"):
        tickets.redeem("dialogue", 1000, ticket)
