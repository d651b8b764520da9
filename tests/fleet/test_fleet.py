"""The bench itself: three hosts that share one directory, and links that can be cut and delayed."""

import time

from .clients import Login, log_in, manage
from .fleet import Fleet, FleetHost


def test_one_enrolment_serves_all_hosts(fleet: Fleet) -> None:
    [user] = fleet.people(1)
    phone = fleet.enroll(user, fleet.hosts[0])
    password, _ = fleet.app_password(user, fleet.hosts[1])
    assert fleet.replicated()
    for host in fleet.hosts:
        assert log_in(host.auth, user, "door", phone.code()) == "accept"
        assert log_in(host.auth, user, "imap", password) == "accept"


def test_hosts_are_apart(fleet: Fleet) -> None:
    """A dialogue that one host began, another does not go on with: its ticket is bound to the boot."""
    [user] = fleet.people(1)
    phone = fleet.enroll(user)
    login = fleet.at_the_prompt(fleet.hosts[0], user)
    elsewhere = fleet.at_the_prompt(fleet.hosts[1], user)
    elsewhere.ticket = login.ticket
    elsewhere.offer(code := phone.code())
    assert elsewhere.verdict() == "refuse"
    login.offer(code)
    assert login.verdict() == "accept"


def test_who_is_remembered_is_remembered_everywhere(fleet: Fleet) -> None:
    """And forgotten everywhere, within a second."""
    [user] = fleet.people(1)
    phone = fleet.enroll(user)
    first, address = fleet.hosts[0], "192.0.2.7"

    def asked(host: FleetHost, rhost: str = address) -> bool:
        login = Login.begin(host.auth, user, "shell", rhost=rhost)
        if login:
            login.link.close()
        return login is not None

    login = Login.begin(first.auth, user, "shell", rhost=address)
    assert login
    login.offer(phone.code())
    assert login.verdict() == "accept"
    for asks in (False, True):
        until = time.monotonic() + 1
        while any(asked(host) != asks for host in fleet.hosts):
            assert time.monotonic() < until
        assert all(asked(host, "192.0.2.8") for host in fleet.hosts)
        if not asks:
            assert manage(fleet.hosts[1].control, "device-forget", user=user)[0] == "ok"


def test_a_slow_link(fleet: Fleet) -> None:
    """Every message to the write provider takes 50 ms each way: a login is as much slower, and no less right."""
    [user] = fleet.people(1)
    phone = fleet.enroll(user)
    far, near = fleet.hosts[0], fleet.hosts[1]
    log_in(far.auth, user, "door", phone.code())
    with fleet.network.delayed(far.name, fleet.first.name, 0.05):
        started = time.monotonic()
        assert log_in(far.auth, user, "door", code := phone.code()) == "accept"
        assert 0.1 <= time.monotonic() - started < 2, "a write: what is read is known here"
        assert log_in(near.auth, user, "door", code) == "refuse"
        assert log_in(near.auth, user, "door", code := phone.code()) == "accept"
        assert log_in(far.auth, user, "door", code) == "refuse"
