"""How servers are reached and what is believed of them, and what becomes of an operation when one of them fails."""

import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig.host import REPOSITORY, free_port, run

from otpd.adapters.ldap.connections import Connections
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.clock import Deadline, SystemClock
from otpd.directory import Directory
from otpd.errors import DirectoryUnavailable
from otpd.secret import Secret
from otpd.values import TimeStep

from .authority import Authority, Pair
from .conftest import ROOTS, Two
from .proxy import Fault, Proxy, between
from .samples import app_password, soon
from .servers import ACCOUNT, ALICE, BASE, PASSWORD, DirectoryServer389, Slapd

HERE = Path(__file__).parent
CLOCK = SystemClock()
TLS = """\
olcTLSCACertificateFile: /srv/tls/site.pem
olcTLSCertificateFile: /srv/tls/{name}.cert.pem
olcTLSCertificateKeyFile: /srv/tls/{name}.key.pem
olcTLSVerifyClient: try
olcAuthzRegexp: "^cn=host1$" "{account}"
olcAuthzRegexp: "^gidNumber=0\\+uidNumber=0,cn=peercred,cn=external,cn=auth$" "{account}"
"""
EXTERNAL = {"bind_dn": "", "bind_password": None}


@dataclass(frozen=True)
class Site:
    """A server that speaks TLS, its authority, and certificates of hosts."""

    server: Slapd
    authority: Authority
    stranger: Authority
    host: Pair

    def directory(self, scheme: str = "ldaps", host: str = "localhost", **other: object) -> LdapDirectory:
        uri = f"{scheme}://{host}:{self.server.ports[scheme]}"
        given = {"uris": (uri,), "provider": uri, "ca_file": str(self.authority.file)} | other
        return self.server.directory(**given)


@pytest.fixture(scope="module")
def authorities(bookworm: Path) -> tuple[Authority, Authority]:
    folder = bookworm / "srv/tls"
    folder.mkdir()
    return Authority(folder, "site"), Authority(folder, "stranger")


@pytest.fixture(scope="module")
def site(bookworm: Path, authorities: tuple[Authority, Authority]) -> Iterator[Site]:
    authority, stranger = authorities
    authority.issue("right", "localhost", "127.0.0.1")
    server = Slapd(bookworm, "right", tls=TLS.format(name="right", account=ACCOUNT))
    server.set_up()
    server.directory().ensure_user(ALICE, soon())
    yield Site(server, authority, stranger, authority.issue("host1"))
    server.stop()


def works(directory: Directory) -> bool:
    """Whether it is read and written."""
    user = directory.user(ALICE, soon(5))
    assert user
    return directory.set_failures(ALICE, user.failures, user.failures + 1, 0, soon(5))


def refused(directory: Directory) -> str:
    """Why it is not."""
    with pytest.raises(DirectoryUnavailable) as raised:
        directory.app_password(ALICE, app_password().id, soon(5))
    return str(raised.value)


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
class TestCertificates:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    def test_right(self, site: Site, scheme: str, host: str) -> None:
        assert works(site.directory(scheme, host))

    def test_another_authority(self, site: Site, scheme: str) -> None:
        assert "certificate verify failed" in refused(site.directory(scheme, ca_file=str(site.stranger.file)))
        assert "certificate verify failed" in refused(site.directory(scheme, ca_file=None)), "nor is it the system's"

    @pytest.mark.parametrize(
        ("name", "hosts", "days", "reason"),
        [
            ("elsewhere", ("ldap.example.org",), 1, "Hostname mismatch|not valid for 'localhost'"),
            ("nameless", (), 1, "Hostname mismatch|not valid for 'localhost'"),
            ("expired", ("localhost",), -1, "expired"),
        ],
    )
    def test_wrong(self, site: Site, scheme: str, name: str, hosts: tuple[str, ...], days: int, reason: str) -> None:
        site.authority.issue(name, *hosts, days=days)
        server = Slapd(site.server.root, f"{name}-{scheme}", tls=TLS.format(name=name, account=ACCOUNT))
        server.set_up()
        try:
            directory = Site(server, site.authority, site.stranger, site.host).directory(scheme)
            with pytest.raises(DirectoryUnavailable, match=reason):
                directory.user(ALICE, soon(5))
        finally:
            server.stop()

    def test_a_file_that_is_none(self, site: Site, scheme: str) -> None:
        assert "No such file" in refused(site.directory(scheme, ca_file="/nowhere"))
        assert refused(site.directory(scheme, ca_file="/dev/null"))


class TestBinds:
    def test_password(self, site: Site) -> None:
        wrong = site.directory(bind_password=Secret(b"wrong"))
        assert "invalidCredentials (49)" in refused(wrong)
        assert PASSWORD not in refused(wrong)

    def test_certificate(self, site: Site) -> None:
        mine = {"cert_file": str(site.host.cert), "key_file": str(site.host.key)}
        assert works(site.directory(**EXTERNAL, **mine))
        assert works(site.directory("ldap", **EXTERNAL, **mine))

    def test_no_certificate(self, site: Site) -> None:
        assert "refused" in refused(site.directory(**EXTERNAL))

    def test_a_certificate_of_another_authority(self, site: Site) -> None:
        pair = site.stranger.issue("host1")
        assert refused(site.directory(**EXTERNAL, cert_file=str(pair.cert), key_file=str(pair.key)))

    def test_uid(self, site: Site) -> None:
        assert works(site.server.directory(**EXTERNAL))

    def test_a_refused_bind_leaves_no_connection(self, site: Site) -> None:
        wrong = site.server.directory(bind_password=Secret(b"wrong"))
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(5):
            refused(wrong)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before  # what other tests left may go meanwhile

    def test_start_tls_refused(self, site: Site, pair: Two) -> None:
        """A server that cannot speak TLS, or what pretends to be one, gets no password."""
        where = ("127.0.0.1", free_port())
        with between(where, str(pair.first.path)) as proxy:
            uri = f"ldap://localhost:{where[1]}"
            directory = pair.first.directory(uris=(uri,), provider=uri, ca_file=str(site.authority.file))
            assert "StartTLS was refused" in refused(directory)
            assert proxy.seen
            assert PASSWORD.encode() not in proxy.seen

    def test_389_directory_server(self, directory_server_389: DirectoryServer389, site: Site) -> None:
        port = directory_server_389.speak_tls(site.authority, "localhost")
        for scheme, where in (("ldaps", port), ("ldap", directory_server_389.port)):
            uri = f"{scheme}://localhost:{where}"
            given = {"uris": (uri,), "provider": uri, "ca_file": str(site.authority.file)}
            directory_server_389.directory(**given).ensure_user(ALICE, soon())
            assert works(directory_server_389.directory(**given))
            assert "verify failed" in refused(directory_server_389.directory(**given | {"ca_file": None}))

    def test_idle_connection_that_the_server_closes(self, site: Site) -> None:
        """TLS says goodbye before it goes: that must be seen, or the next write is lost."""
        for scheme in ("ldaps", "ldap"):
            directory = site.directory(scheme)
            assert works(directory)
            site.server.stop()
            site.server.start()
            user = site.server.directory().user(ALICE, soon())
            assert user
            assert directory.set_failures(ALICE, user.failures, user.failures + 1, 0, soon())

    def test_python_of_debian_13(self, site: Site, trixie: Path) -> None:
        """Its ssl has no match_hostname, which ldap3 calls where it is left to check names."""
        shutil.copytree(REPOSITORY / "otpd", trixie / "srv/source/otpd")
        shutil.copy(HERE / "ask.py", trixie / "srv/ask.py")
        shutil.copy(site.authority.file, trixie / "srv/site.pem")
        port = site.server.ports["ldaps"]
        python = ["chroot", str(trixie), "env", "PYTHONPATH=/srv/source", "python3", "-W", "ignore", "/srv/ask.py"]

        def answer(host: str) -> str:
            arguments = [f"ldaps://{host}:{port}", "/srv/site.pem", ACCOUNT, BASE]
            return run(*python, *arguments, stdin=PASSWORD)

        with between(("127.0.0.2", port), ("127.0.0.1", port)):
            assert answer("127.0.0.1").startswith("3 13\nUser(name='alice'")
            assert "IP address mismatch" in answer("127.0.0.2")


def asked(directory: Directory, seconds: float = 2) -> tuple[str, float]:
    """Which server answered, and after how many seconds."""
    started = time.monotonic()
    _, found = directory.app_password(ALICE, app_password().id, soon(seconds))
    assert found
    return found.label, time.monotonic() - started


def returns_to_the_first(directory: Directory, seconds: float = 40) -> bool:
    """Whether the first server is asked again in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if asked(directory)[0] == "first":
            return True
        time.sleep(0.05)
    return False


class TestReads:
    def test_the_first_is_preferred(self, pair: Two) -> None:
        assert asked(pair.directory())[0] == "first"

    @pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
    def test_the_first_refuses(self, pair: Two, kept: bool) -> None:
        directory = pair.directory()
        if kept:
            asked(directory)
        pair.first.stop(signal.SIGKILL)
        label, seconds = asked(directory)
        assert label == "second"
        assert seconds < 0.2
        pair.first.start()
        assert returns_to_the_first(directory, 5)

    @pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
    def test_the_first_hangs(self, pair: Two, kept: bool) -> None:
        directory = pair.directory()
        if kept:
            asked(directory)
        with pair.first.hanging():
            label, seconds = asked(directory)
            assert label == "second"
            assert 0.9 < seconds < 1.2, "half of the time is for the second"
            for _ in range(3):
                label, seconds = asked(directory)
                assert label == "second"
                assert seconds < 0.1, "now the first is asked last"
        assert returns_to_the_first(directory, 5)

    @pytest.mark.parametrize("fault", ["swallow requests", "swallow replies", "cut replies", "garbage", "drip"])
    @pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
    def test_what_stands_before_the_first(self, pair: Two, fault: Fault, kept: bool) -> None:
        with between(f"{ROOTS}/first.sock", str(pair.first.path)) as proxy:
            directory = pair.directory(proxy.uri)
            if kept:
                assert asked(directory)[0] == "first"
            proxy.fault = fault
            label, seconds = asked(directory)
            assert label == "second"
            assert seconds < 1.2
            proxy.fault = ""
            assert returns_to_the_first(directory, 5)

    @pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
    def test_nothing_comes_from_a_port(self, pair: Two, site: Site, scheme: str) -> None:
        """A firewall, or a host that hangs: TCP may connect, and TLS never begins."""
        where = ("127.0.0.1", free_port())
        with between(where, ("127.0.0.1", site.server.ports[scheme])) as proxy:
            proxy.fault = "swallow replies"
            directory = pair.directory(f"{scheme}://localhost:{where[1]}", ca_file=str(site.authority.file))
            label, seconds = asked(directory)
            assert label == "second"
            assert seconds < 1.3
            assert proxy.accepted

    def test_nobody_takes_the_connection(self, pair: Two) -> None:
        """As behind a firewall that drops: a port whose queue is full, so that the kernel answers no SYN."""
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            label, seconds = asked(pair.directory(f"ldaps://127.0.0.1:{full.getsockname()[1]}"))
            assert label == "second"
            assert 0.9 < seconds < 1.3
            for one in waiting:
                one.close()

    def test_the_first_knows_nothing(self, pair: Two, bookworm: Path) -> None:
        """A replica that is being filled anew: it has neither our account nor our entries."""
        empty = Slapd(bookworm, "empty")
        empty.start()
        try:
            assert asked(pair.directory(empty.uri))[0] == "second"
            assert "bind was refused" in refused(empty.directory())
        finally:
            empty.stop()

    def test_the_first_has_lost_the_base(self, pair: Two, bookworm: Path) -> None:
        """Nobody is enrolled there; taken at its word, doors that are open to the unenrolled would open."""
        lost = Slapd(bookworm, "lost")
        lost.set_up()
        lost.apply(f"dn: {BASE}\nchangetype: delete\n")
        try:
            assert asked(pair.directory(lost.uri))[0] == "second"
            assert f"there is no {BASE}" in refused(lost.directory())
        finally:
            lost.stop()

    def test_all_hang(self, pair: Two) -> None:
        directory = pair.directory()
        with pair.first.hanging(), pair.second.hanging():
            for _ in range(3):
                started = time.monotonic()
                with pytest.raises(DirectoryUnavailable):
                    directory.app_password(ALICE, app_password().id, soon(1))
                assert time.monotonic() - started < 1.2
        assert asked(directory)

    def test_one_caller_finds_out_for_all(self, pair: Two) -> None:
        """While the first hangs, most reads never wait for it, however long it lasts."""
        directory = pair.directory()
        with pair.first.hanging():
            asked(directory, 0.8)
            until, slow = time.monotonic() + 4, 0
            while time.monotonic() < until:
                slow += asked(directory, 0.8)[1] > 0.2
                time.sleep(0.01)
        assert slow <= 4, "the waits between two tries double"


class TestWrites:
    def test_go_to_the_provider(self, pair: Two) -> None:
        directory = pair.directory(provider=pair.second.uri)
        user = pair.second.directory().user(ALICE, soon())
        assert user
        assert directory.set_failures(ALICE, user.failures, user.failures + 1, 0, soon())
        fresh = directory.user(ALICE, soon())
        assert fresh
        assert (fresh.tokens[0].label, fresh.failures) == ("second", user.failures + 1), "what guesses depend on"
        assert asked(directory)[0] == "first"

    def test_never_go_elsewhere(self, pair: Two) -> None:
        directory = pair.directory()
        before = pair.second.directory().user(ALICE, soon())
        assert before
        pair.first.stop()
        assert asked(directory)[0] == "second"
        for _ in range(3):
            with pytest.raises(DirectoryUnavailable):
                directory.spend_step(ALICE, before.tokens[0], TimeStep(2**40), soon())
            with pytest.raises(DirectoryUnavailable):
                directory.set_failures(ALICE, before.failures, before.failures + 1, 0, soon())
        assert pair.second.directory().user(ALICE, soon()) == before

    @pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
    @pytest.mark.parametrize("fault", ["swallow requests", "swallow replies", "cut replies", "garbage", "drip"])
    def test_a_lost_answer(self, pair: Two, fault: Fault, kept: bool) -> None:
        """It raises in time, it is sent once, and the directory shows one of the two states, to everybody."""
        before = pair.first.directory().user(ALICE, soon())
        assert before
        old = before.tokens[0]
        with between(f"{ROOTS}/provider.sock", str(pair.first.path)) as proxy:
            directory = pair.directory(provider=proxy.uri)
            if kept:
                directory.user(ALICE, soon())
            proxy.fault = fault
            started = time.monotonic()
            with pytest.raises(DirectoryUnavailable):
                directory.spend_step(ALICE, old, TimeStep(old.last_step + 1), soon(1))
            assert time.monotonic() - started < 1.2
            assert modifies(proxy) <= 1
        after = pair.first.directory().user(ALICE, soon())
        assert after
        happened = after.tokens[0].last_step == old.last_step + 1
        assert happened == (kept and fault != "swallow requests")
        assert modifies(proxy) == kept, "bound before it was sent"
        assert pair.first.directory().spend_step(ALICE, old, TimeStep(old.last_step + 1), soon()) != happened


def modifies(proxy: Proxy) -> int:
    """How many times a last step was to be changed."""
    return bytes(proxy.seen).count(b"oathTOTPLastTimeStep\x31") // 2


def test_connections_are_made_for_each_thread_and_kept(pair_of_one: tuple[LdapDirectory, Proxy]) -> None:
    directory, proxy = pair_of_one
    for _ in range(20):
        directory.user(ALICE, soon())
    assert proxy.accepted == 1


@pytest.fixture
def pair_of_one(pair: Two) -> Iterator[tuple[LdapDirectory, Proxy]]:
    with between(f"{ROOTS}/kept.sock", str(pair.first.path)) as proxy:
        servers = pair.first.servers(uris=(proxy.uri,), provider=proxy.uri)
        yield LdapDirectory(Connections(servers, CLOCK), BASE), proxy


def test_a_deadline_that_has_passed(pair: Two) -> None:
    with pytest.raises(DirectoryUnavailable, match="no time left"):
        pair.directory().user(ALICE, Deadline(CLOCK, CLOCK.monotonic()))
