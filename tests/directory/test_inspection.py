"""``otpctl directory check``, on servers that are well, and on servers that each lack one thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otpd.adapters.ldap_inspection import LdapInspector
from otpd.clock import Clock, SystemClock
from otpd.inspection import Finding
from otpd.secret import Secret

from .conftest import Two
from .samples import soon
from .servers import ACCOUNT, BASE, Server, Slapd


class Ahead(SystemClock):
    """A host whose clock is wrong."""

    def wall(self) -> float:
        return super().wall() + 60


def inspect(server: Server, clock: Clock | None = None, **other: object) -> list[Finding]:
    inspector = LdapInspector(server.servers(**other), BASE, clock or SystemClock())
    return list(inspector.inspect(soon(5)))


def faults(findings: list[Finding]) -> list[tuple[str, str]]:
    assert all(bool(one.fault) == bool(one.remedy) for one in findings)
    return [(one.what, one.fault) for one in findings if one.fault]


@contextmanager
def made(root: Path, name: str, **options: object) -> Iterator[Slapd]:
    server = Slapd(root, name, **options)
    server.start()
    yield server
    server.stop()


def test_well(server: Server) -> None:
    findings = inspect(server)
    assert faults(findings) == []
    what = [finding.what for finding in findings]
    if server.name != "389ds":
        assert what.pop(3) == "notifications"
    assert what == ["bind", "base entry", "schema", "write", "clock", "a code is spent once", "remove"]
    assert "otpd-check" not in server.search(BASE), "nothing is left"


def test_clocks_that_differ(server: Server) -> None:
    found = faults(inspect(server, Ahead()))
    assert [what for what, _ in found] == ["clock"]
    assert "-60 seconds" in found[0][1] or "-61 seconds" in found[0][1]


def test_no_account(server: Server) -> None:
    found = faults(inspect(server, bind_password=Secret(b"wrong")))
    assert [what for what, _ in found] == ["answer"]
    assert "invalidCredentials" in found[0][1]


def test_no_schema(bookworm: Path) -> None:
    with made(bookworm, "inspect-schema", schema=(), otp=False) as server:
        server.grow()
        found = faults(inspect(server))
    assert [what for what, _ in found] == ["schema"]
    assert "oathOTPLength" in found[0][1]
    assert "otpdToken" in found[0][1]


def test_no_base(bookworm: Path) -> None:
    with made(bookworm, "inspect-base") as server:
        server.grow()
        server.apply(f"dn: {BASE}\nchangetype: delete\n")
        assert [what for what, _ in faults(inspect(server))] == ["base entry"]


def test_no_right_to_write(bookworm: Path) -> None:
    with made(bookworm, "inspect-write") as server:
        server.grow()
        found = faults(inspect(server))
        assert [what for what, _ in found] == ["notifications", "write"]
        assert "syncprov" in found[0][1]
        assert "insufficientAccessRights" in found[1][1]
        assert ACCOUNT not in found[1][1]


def test_servers_that_do_not_replicate(pair: Two) -> None:
    found = inspect(pair.first, uris=(pair.first.uri, pair.second.uri))
    assert [what for what, _ in faults(found)] == ["replication"]
    assert next(one.server for one in found if one.fault) == pair.second.uri
    assert "otpd-check" not in pair.first.search(BASE)


def test_a_server_that_hangs(pair: Two) -> None:
    with pair.second.hanging():
        found = inspect(pair.first, uris=(pair.second.uri, pair.first.uri))
    assert [what for what, _ in faults(found)] == ["answer"]
    assert [one.what for one in found if one.server == pair.first.uri] == ["bind", "base entry", "schema"]
