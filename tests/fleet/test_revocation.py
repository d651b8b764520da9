"""What is revoked on one host is refused on all of them within a second."""

import time

import pytest

from .clients import log_in, manage
from .fleet import Fleet, FleetHost, rounds

TRIES = rounds("REVOCATIONS", 60)
WITHIN_SECONDS = 1.0
_LEAST_CODES = 8


def seconds_until_refused(hosts: tuple[FleetHost, ...], since: float, offer: tuple[str, str, list[str]]) -> float:
    """How long after ``since`` the last of the hosts still let somebody in.

    ``offer`` is a user, a service, and what is typed, from the last to the first.
    """
    user, service, typed = offer
    last = 0.0
    left = list(hosts)
    while left:
        host = left[0]
        asked = time.monotonic() - since
        verdict = log_in(host.auth, user, service, typed.pop())
        assert verdict in ("accept", "refuse")
        if verdict == "refuse":
            left.pop(0)
        else:
            last = asked
        assert asked < WITHIN_SECONDS or verdict == "refuse", f"{host.name} lets in after {asked:.2f} s"
    return last


def accepted(host: FleetHost, user: str, service: str, typed: str) -> None:
    """Log in; what is new, or allowed again, must get around, too."""
    until = time.monotonic() + WITHIN_SECONDS
    while log_in(host.auth, user, service, typed) != "accept":
        assert time.monotonic() < until, host.name


def test_an_app_password(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    longest = 0.0
    [user] = fleet.people(1)
    fleet.enroll(user)
    for number in range(TRIES):
        host = fleet.hosts[number % len(fleet.hosts)]
        password, app_id = fleet.app_password(user, host)
        assert fleet.replicated()
        for other in fleet.hosts:  # so that each has it where it keeps such things
            accepted(other, user, "imap", password)
        assert manage(host.control, "app-password-revoke", user=user, id=app_id)[0] == "ok"
        offer = (user, "imap", [password] * 1000)
        longest = max(longest, seconds_until_refused(fleet.hosts, time.monotonic(), offer))
    with capsys.disabled():
        print(f"\n{TRIES} revocations of an app password: let in for {longest * 1000:.0f} ms at most")


def test_a_token(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes are judged by the write provider's word, so not one goes through."""
    longest = 0.0
    [user] = fleet.people(1)
    phone = fleet.enroll(user)
    for number in range(TRIES):
        host = fleet.hosts[number % len(fleet.hosts)]
        if phone.left() < _LEAST_CODES:
            fleet.forget(user)
            phone.last_step = 0
        fleet.forget_failures(user)
        accepted(host, user, "door", phone.code())
        assert manage(host.control, "token-disable", user=user, id=phone.token_id)[0] == "ok"
        since = time.monotonic()
        codes = [phone.at(phone.last_step + ahead) for ahead in (4, 3, 2, 1)]
        longest = max(longest, seconds_until_refused(fleet.hosts, since, (user, "door", codes)))
        assert manage(host.control, "token-enable", user=user, id=phone.token_id)[0] == "ok"
    assert longest == 0.0, "a code was accepted"
    with capsys.disabled():
        print(f"\n{TRIES} times a token disabled: no code was accepted")
