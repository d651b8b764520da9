"""What each login is answered while a server is away, and within what time: the table in docs/directory.md."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from directory.servers import BASE
from module.pam_login import AUTHINFO_UNAVAIL, SUCCESS, Login
from rig.host import run

from otpd.adapters.ldap.watch import BELIEVED_SECONDS

from .clients import log_in, manage
from .fleet import Fleet, FleetHost
from .phone import Phone

DEADLINE_SECONDS = 5
SLACK_SECONDS = 1.5
AT_ONCE_SECONDS = 1.5


@dataclass
class Visitor:
    """Somebody at the doors of the hosts, each by the PAM module and libpam."""

    fleet: Fleet
    driver: Path
    user: str
    phone: Phone
    password: str
    recovery_codes: list[str]

    def tries(self, host: FleetHost, service: str, typed: str) -> tuple[int, float]:
        """The PAM return code, and the seconds from the answer on."""
        login = Login([*host.enter, self.driver, "/etc/pam.d", service, self.user])
        login.wait_for("conversation")
        login.type(f"text {typed}")
        result = login.finish()
        return result.code, result.seconds

    def gets(self, host: FleetHost, expected: int, within: float, *proofs: str) -> None:
        """What every kind of proof comes to."""
        for proof in proofs:
            service = "imap" if proof == "app password" else "door"
            code, seconds = self.tries(host, service, self._typed(proof))
            assert code == expected, (host.name, proof)
            assert seconds < within, (host.name, proof)

    def _typed(self, proof: str) -> str:
        match proof:
            case "app password":
                return self.password
            case "code":
                return self.phone.code()
            case _:
                return self.recovery_codes.pop()


CODES = ("code", "recovery code")
ALL = ("app password", *CODES)


@pytest.fixture(scope="module")
def driver(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("driver") / "pam_driver"
    run("cc", "-o", str(built), str(Path(__file__).parents[1] / "c" / "pam_driver.c"), "-lpam")
    for service in ("door", "imap"):
        Path("/etc/pam.d", service).write_text(
            "auth [success=ok default=die] pam_otpd.so\naccount required pam_permit.so\n"
        )
    return built


@pytest.fixture
def visitor(fleet: Fleet, driver: Path) -> Visitor:
    [user] = fleet.people(1)
    phone = fleet.enroll(user)
    made = Visitor(fleet, driver, user, phone, fleet.app_password(user)[0], fleet.recovery_codes(user))
    assert fleet.replicated()
    for host in fleet.hosts:
        eventually_well(made, host)
    return made


def eventually_well(visitor: Visitor, host: FleetHost, seconds: float = 10) -> None:
    """Once a server is back, so are logins."""
    until = time.monotonic() + seconds
    while log_in(host.auth, visitor.user, "door", visitor.phone.code()) != "accept":
        assert time.monotonic() < until, host.name
        time.sleep(0.3)
    assert log_in(host.auth, visitor.user, "imap", visitor.password) == "accept"


@contextmanager
def frozen(*names: str, fleet: Fleet) -> Iterator[None]:
    servers = {fleet.first.name: fleet.first, fleet.second.name: fleet.second}
    for name in names:
        servers[name].send(signal.SIGSTOP)
    try:
        yield
    finally:
        for name in names:
            servers[name].send(signal.SIGCONT)


@contextmanager
def gone(*servers: str, fleet: Fleet) -> Iterator[None]:
    found = [server for server in (fleet.first, fleet.second) if server.name in servers]
    for server in found:
        server.stop(signal.SIGKILL)
    try:
        yield
    finally:
        for server in found:
            server.start()


def test_a_replica_is_cut_off(fleet: Fleet, visitor: Visitor) -> None:
    """The host that prefers it waits for it once, for half of the deadline; the others do not notice."""
    first, *_, last = fleet.hosts
    with fleet.network.without(last.name, fleet.second.name):
        visitor.gets(last, SUCCESS, AT_ONCE_SECONDS, *CODES)
        visitor.gets(last, SUCCESS, DEADLINE_SECONDS / 2 + SLACK_SECONDS, "app password")
        visitor.gets(first, SUCCESS, AT_ONCE_SECONDS, *ALL)
    eventually_well(visitor, last)


def test_a_host_is_cut_off_from_the_provider(fleet: Fleet, visitor: Visitor) -> None:
    first, *_, last = fleet.hosts
    with fleet.network.without(last.name, fleet.first.name):
        visitor.gets(last, SUCCESS, DEADLINE_SECONDS / 2 + SLACK_SECONDS, "app password")
        visitor.gets(last, AUTHINFO_UNAVAIL, DEADLINE_SECONDS + SLACK_SECONDS, *CODES)
        visitor.gets(first, SUCCESS, AT_ONCE_SECONDS, *ALL)
    eventually_well(visitor, last)


def test_the_way_to_the_provider_is_refused(fleet: Fleet, visitor: Visitor) -> None:
    """There is no way to it any more: otpd asks for a new connection and is told so at once."""
    host = fleet.hosts[0]
    host.restart()
    with fleet.network.without(host.name, fleet.first.name, "unreachable"):
        visitor.gets(host, AUTHINFO_UNAVAIL, AT_ONCE_SECONDS, *CODES)
        visitor.gets(host, SUCCESS, AT_ONCE_SECONDS, "app password")
    eventually_well(visitor, host)


def test_the_provider_hangs(fleet: Fleet, visitor: Visitor) -> None:
    with frozen("ldap1", fleet=fleet):
        for host in fleet.hosts:
            visitor.gets(host, SUCCESS, DEADLINE_SECONDS / 2 + SLACK_SECONDS, "app password")
            visitor.gets(host, AUTHINFO_UNAVAIL, DEADLINE_SECONDS + SLACK_SECONDS, "code")
        visitor.gets(fleet.hosts[0], AUTHINFO_UNAVAIL, DEADLINE_SECONDS + SLACK_SECONDS, "recovery code")
    for host in fleet.hosts:
        eventually_well(visitor, host)


def test_the_provider_is_gone(fleet: Fleet, visitor: Visitor) -> None:
    with gone("ldap1", fleet=fleet):
        for host in fleet.hosts:
            visitor.gets(host, SUCCESS, AT_ONCE_SECONDS, "app password")
            visitor.gets(host, AUTHINFO_UNAVAIL, AT_ONCE_SECONDS, *CODES)
    for host in fleet.hosts:
        eventually_well(visitor, host)


def test_all_are_gone(fleet: Fleet, visitor: Visitor) -> None:
    with gone("ldap1", "ldap2", fleet=fleet):
        for host in fleet.hosts:
            visitor.gets(host, AUTHINFO_UNAVAIL, AT_ONCE_SECONDS, *ALL)
    for host in fleet.hosts:
        eventually_well(visitor, host)


def test_all_hang(fleet: Fleet, visitor: Visitor) -> None:
    host = fleet.hosts[0]
    with frozen("ldap1", "ldap2", fleet=fleet):
        time.sleep(BELIEVED_SECONDS)  # until then, what it keeps of users is believed
        visitor.gets(host, AUTHINFO_UNAVAIL, DEADLINE_SECONDS + SLACK_SECONDS, "app password", "code")
    eventually_well(visitor, host)


_REFUSED_FOR_GOOD = 5
_FILLERS = [f"ou=filler{number},{BASE}" for number in range(20)]


def use_up_pages(fleet: Fleet) -> None:
    """Change a small entry, as a login does, each time on other pages of the database, until there are none."""
    refused = 0
    for number in range(2000):
        change = f"dn: {_FILLERS[-1]}\nchangetype: modify\nreplace: postalCode\npostalCode: {number}\n"
        try:
            fleet.first.apply(change)
        except RuntimeError:
            refused += 1
        if refused == _REFUSED_FOR_GOOD:
            return
    raise AssertionError("the disk does not fill up")


def use_up_scattered_pages(visitor: Visitor, host: FleetHost) -> None:
    """Rename a token until there is no room for that either: it takes few pages, which need not be neighbours."""
    for number in range(200):
        label = f"phone {number}"
        fields = {"user": visitor.user, "id": visitor.phone.token_id, "label": label}
        if manage(host.control, "token-rename", **fields)[0] == "error":
            return
    raise AssertionError("the disk does not fill up")


@contextmanager
def full_disk(fleet: Fleet) -> Iterator[None]:
    """Not a byte is left on the provider's disk, and none in its database.

    LMDB goes on with the pages that it has freed, so codes are spent on a full disk too; until somebody reads for
    long, as a backup does, and all that was there when it began must be kept.
    """
    text = "".join(f"description: {line:>0900}\n" for line in range(20))
    for filler in _FILLERS:
        more = "" if filler == _FILLERS[-1] else text
        fleet.first.apply(f"dn: {filler}\nobjectClass: organizationalUnit\n{more}")
    backup = subprocess.Popen(["slapcat", "-F", "/srv/ldap1/slapd.d", "-n", "1"], stdout=subprocess.PIPE)
    assert backup.stdout
    backup.stdout.read(1)
    ballast, free = fleet.first.data / "ballast", os.statvfs(fleet.first.data)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    try:
        use_up_pages(fleet)
        yield
    finally:
        backup.kill()
        backup.wait()
        ballast.unlink()
        for filler in _FILLERS:
            fleet.first.apply(f"dn: {filler}\nchangetype: delete\n")


def test_the_providers_disk_is_full(fleet: Fleet, visitor: Visitor) -> None:
    with full_disk(fleet):
        use_up_scattered_pages(visitor, fleet.hosts[0])
        for host in fleet.hosts:
            visitor.gets(host, SUCCESS, AT_ONCE_SECONDS, "app password")
            visitor.gets(host, AUTHINFO_UNAVAIL, AT_ONCE_SECONDS, *CODES)
        status, reply = manage(fleet.hosts[0].control, "app-password-create", user=visitor.user, services="imap")
        assert (status, reply["reason"]) == ("error", "unavailable")
    for host in fleet.hosts:
        eventually_well(visitor, host)
    assert fleet.replicated()


def test_the_providers_do_not_hear_of_each_other(fleet: Fleet, visitor: Visitor) -> None:
    """Every host asks the same one for codes, so none works twice; what is read from the other is old."""
    first, *_, last = fleet.hosts
    password, app_id = fleet.app_password(visitor.user)
    assert fleet.replicated()
    with fleet.network.without(fleet.first.name, fleet.second.name):
        for host, other in ((first, last), (last, first)):
            assert log_in(host.auth, visitor.user, "door", code := visitor.phone.code()) == "accept"
            assert log_in(other.auth, visitor.user, "door", code) == "refuse"
        assert manage(last.control, "app-password-revoke", user=visitor.user, id=app_id)[0] == "ok"
        assert log_in(first.auth, visitor.user, "imap", password) == "refuse"
    assert fleet.replicated(), "the second catches up"
    assert log_in(last.auth, visitor.user, "imap", password) == "refuse"
    assert log_in(first.auth, visitor.user, "door", code) == "refuse"
