"""Three hosts, eight racers on each, one thing that only one of them may have.

*far* is with links so slow that all racers have read the directory before the first of them has written to it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from otpd.protocol import decode_management, encode_management

from .clients import PATIENCE_SECONDS, Link, manage
from .fleet import Fleet, FleetHost, rounds
from .phone import Phone

RACERS = 8
ROUNDS = rounds("ROUNDS", 80)


@pytest.fixture(params=[0.0, 0.02], ids=["near", "far"])
def distance(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[None]:
    with ExitStack() as links:
        if request.param:
            for host in fleet.hosts:
                links.enter_context(fleet.network.delayed(host.name, fleet.first.name, request.param))
        yield


def race(fleet: Fleet, user: str, typed: str) -> Counter[str]:
    """The verdicts of 24 logins that all stood at the prompt when the first of them typed."""
    logins = [fleet.at_the_prompt(host, user) for _ in range(RACERS) for host in fleet.hosts]
    for login in logins:
        login.offer(typed)
    return Counter(login.verdict() for login in logins)


def confirm(tickets: Sequence[tuple[FleetHost, str, str]], user: str) -> Counter[str]:
    """What enrolments come to that are all confirmed at once: ``ok``, or the reason why not."""
    links = [Link(host.control) for host, _, _ in tickets]
    for link, (_, ticket, code) in zip(links, tickets, strict=True):
        link.send(encode_management("enrol-confirm", {"user": user, "ticket": ticket, "code": code}))
    outcomes: Counter[str] = Counter()
    for link in links:
        frames = link.receive(PATIENCE_SECONDS)
        link.close()
        assert frames
        status, reply = decode_management(frames)
        outcomes[reply["reason"] if status == "error" else status] += 1
    return outcomes


def begin(host: FleetHost, user: str) -> tuple[FleetHost, str, str]:
    """An enrolment that is begun: where, its ticket, and a code that confirms it."""
    status, begun = manage(host.control, "enrol-begin", user=user)
    assert status == "ok", begun
    return host, begun["ticket"], Phone(begun["secret"]).code()


def test_one_code(fleet: Fleet, distance: None) -> None:
    [user] = fleet.people(1)
    phone = fleet.enroll(user)
    for number in range(ROUNDS):
        fleet.forget(user)
        seen = race(fleet, user, Phone(phone.secret).code())
        assert seen == {"accept": 1, "refuse": RACERS * len(fleet.hosts) - 1}, number


def test_one_recovery_code(fleet: Fleet, distance: None) -> None:
    [user] = fleet.people(1)
    fleet.enroll(user)
    codes: list[str] = []
    for number in range(ROUNDS):
        fleet.forget_failures(user)
        codes = codes or fleet.recovery_codes(user)
        seen = race(fleet, user, codes.pop())
        assert seen == {"accept": 1, "refuse": RACERS * len(fleet.hosts) - 1}, number
        found = fleet.user(user)
        assert found
        assert len(found.sealed_recovery_codes) == len(codes)


def test_a_first_enrolment(fleet: Fleet) -> None:
    """Begun on every host by eight at a time, each with a seed of its own, and confirmed at once."""
    [user] = fleet.people(1)
    for number in range(ROUNDS):
        tickets = [begin(host, user) for _ in range(RACERS) for host in fleet.hosts]
        seen = confirm(tickets, user)
        assert seen == {"ok": 1, "overtaken": RACERS * len(fleet.hosts) - 1}, number
        found = fleet.user(user)
        assert found
        assert [token.state for token in found.tokens] == ["active"]
        assert manage(fleet.hosts[0].control, "reset", user=user)[0] == "ok"


@pytest.mark.parametrize("first", [True, False], ids=["first", "another"])
def test_one_ticket(fleet: Fleet, first: bool) -> None:
    """Only the host that issued it opens it: its eight racers all have the same right code."""
    [user] = fleet.people(1)
    if not first:
        fleet.enroll(user)
    for number in range(ROUNDS // 2):
        host = fleet.hosts[number % len(fleet.hosts)]
        seen = confirm([begin(host, user)] * RACERS, user)
        assert seen == {"ok": 1, "overtaken": RACERS - 1}, number
        found = fleet.user(user)
        assert found
        assert len(found.tokens) == 1 + (not first)
        if first:
            assert manage(host.control, "reset", user=user)[0] == "ok"
        else:
            token = found.tokens[-1].id
            assert manage(host.control, "token-remove", user=user, id=token)[0] == "ok"
