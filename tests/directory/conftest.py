"""Each kind of server that otpd is to work with, started once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otpd.adapters.ldap.directory import LdapDirectory

from .samples import app_password, soon, token
from .servers import ALICE, DirectoryServer389, Server, Slapd, debian, folders

ROOTS = Path("/run/otpd-directories")


@pytest.fixture(scope="session")
def bookworm() -> Iterator[Path]:
    with debian(folders("machine/build", "bookworm"), ROOTS / "bookworm") as root:
        yield root


@pytest.fixture(scope="session")
def trixie() -> Iterator[Path]:
    with debian(folders("machine/build", "trixie"), ROOTS / "trixie") as root:
        yield root


@pytest.fixture(scope="session")
def openldap_2_5(bookworm: Path) -> Iterator[Server]:
    """Debian 12's, with its module otp."""
    server = Slapd(bookworm, "openldap-2.5")
    server.set_up()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def openldap_2_6(trixie: Path) -> Iterator[Server]:
    """Debian 13's, with the attribute types of conf/oath.ldif."""
    server = Slapd(trixie, "openldap-2.6", schema=("oath", "otpd"), otp=False)
    server.set_up()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def directory_server_389() -> Iterator[Server]:
    """Debian 12's 389 Directory Server, with conf/99otpd.ldif."""
    with debian(folders("directory/root-389ds"), ROOTS / "389ds") as root:
        server = DirectoryServer389(root, "389ds")
        server.set_up()
        yield server
        server.stop()


@pytest.fixture(params=["openldap_2_5", "openldap_2_6", "directory_server_389"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@dataclass(frozen=True)
class Two:
    """Two servers, each of which says in its data which one it is; what stands between them and otpd is the test's."""

    first: Slapd
    second: Slapd

    def directory(self, first: str | None = None, **other: object) -> LdapDirectory:
        uris = (first or self.first.uri, self.second.uri)
        return self.first.directory(**({"uris": uris, "provider": uris[0]} | other))


@pytest.fixture(scope="session")
def two(bookworm: Path) -> Iterator[Two]:
    servers = [Slapd(bookworm, name) for name in ("first", "second")]
    for server in servers:
        server.set_up()
        server.directory().ensure_user(ALICE, soon())
        server.directory().add_token(ALICE, token(label=server.name), soon())
        server.directory().add_app_password(ALICE, app_password(label=server.name), soon())
    yield Two(*servers)
    for server in servers:
        server.stop()


@pytest.fixture
def pair(two: Two) -> Iterator[Two]:
    yield two
    for server in (two.first, two.second):
        if server.process is None:
            server.start()
